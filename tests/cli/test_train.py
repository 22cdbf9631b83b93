from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tercet.cli import app
from tercet.cli import train as cli_train
from tercet.encoders.mini import MiniEncoder
from tercet.index import HybridIndex
from tercet.training.data import read_examples, write_examples
from tercet.training.mlm_plan import MlmPlan
from tercet.training.plan import TrainingPlan
from tests.toys import ToyEncoder
from tests.training import toy_task
from tests.training.toy_task import write_toy_model

TRAINED = {"splade": ["sparse"], "colbert": ["late"], "heads": ["sparse", "late"]}


@pytest.fixture(scope="module")
def toy_model(tiny_trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("toy"), tiny_trunk)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_examples(tmp_path / "pairs.jsonl", toy_task.examples(60, negatives=2))
    return tmp_path / "pairs.jsonl"


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], obj=ToyEncoder())


def run(kind: str, pairs: Path, into: Path, model: Path, *more: object) -> Any:
    return invoke("train", kind, pairs, "--into", into, "--from", model, "--batch-size", 8, "--held-out", 5, *more)


@pytest.mark.parametrize(("kind", "heads"), TRAINED.items())
def test_each_command_trains_its_heads(
    kind: str, heads: list[str], pairs: Path, tmp_path: Path, toy_model: Path
) -> None:
    result = run(kind, pairs, tmp_path / "out", toy_model, "--steps", 3)

    assert result.exit_code == 0, result.output
    assert "step 3 of 3" in result.stdout
    assert "on held-out queries" in result.stdout
    assert json.loads((tmp_path / "out" / "training.json").read_text())["plan"]["heads"] == heads
    assert MiniEncoder(tmp_path / "out").encode_query("cat").dense.shape == (32,)


def test_what_colbert_does_with_texts_is_recorded(pairs: Path, tmp_path: Path, toy_model: Path) -> None:
    options = ["--steps", 2, "--dim", 16, "--augment", 12]
    result = run("colbert", pairs, tmp_path / "out", toy_model, *options)

    assert result.exit_code == 0, result.output
    assert MiniEncoder(tmp_path / "out").encode_query("cat").multi_vector.vectors.shape == (10, 16)
    refused = run("colbert", pairs, tmp_path / "other", toy_model, "--markers")
    assert refused.exit_code == 1
    assert "train all its heads" in " ".join(refused.output.split())


def test_an_unfrozen_trunk_trains_all_three(pairs: Path, tmp_path: Path, toy_model: Path) -> None:
    plan = TrainingPlan(learning_rate=0.005, target_document_terms=9)
    (tmp_path / "plan.json").write_text(plan.to_json())
    options = ["--plan", tmp_path / "plan.json", "--steps", 2, "--unfreeze", 1, "--negatives", 1, "--chunk-size", 4]
    result = run("heads", pairs, tmp_path / "out", toy_model, *options, "--teacher", toy_model)

    assert result.exit_code == 0, result.output
    used = TrainingPlan.from_json((tmp_path / "out" / "training.json").read_text())
    assert used.heads == ("dense", "sparse", "late")
    assert (used.unfrozen_layers, used.learning_rate, used.target_document_terms) == (1, 0.005, 9)
    assert used.kl_divergence == 1.0


def test_bad_input_is_one_line_and_exit_code_one(pairs: Path, tmp_path: Path, toy_model: Path) -> None:
    with pairs.open("a") as stream:
        stream.write('{"query": "", "positive": "p"}\n')
    lines = len(pairs.read_text().splitlines())
    result = run("splade", pairs, tmp_path / "out", toy_model)
    assert result.exit_code == 1
    assert f"pairs.jsonl:{lines}: its query is empty" in result.stderr
    assert not (tmp_path / "out").exists()

    result = run("splade", pairs, tmp_path / "out", tmp_path / "nothing")
    assert result.exit_code == 1
    (tmp_path / "bad.json").write_text("[]")
    result = run("splade", pairs, tmp_path / "out", toy_model, "--plan", tmp_path / "bad.json")
    assert "is no training plan" in result.stderr
    assert run("heads", pairs, tmp_path / "out", toy_model, "--unfreeze", "some").exit_code == 2


def test_an_unknown_base_is_told_before_a_teacher_is_asked(pairs: Path, tmp_path: Path) -> None:
    result = run("heads", pairs, tmp_path / "out", tmp_path / "nothing", "--negatives", 1, "--teacher", tmp_path / "no")

    assert result.exit_code == 1
    assert str(tmp_path / "nothing") in result.stderr.replace("\n", "")
    assert not (tmp_path / "out").exists()


def test_hidden_words_come_before_ranking(pairs: Path, tmp_path: Path, toy_model: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("\n\n".join(example.positive for example in toy_task.examples(60)))
    (tmp_path / "plan.json").write_text(MlmPlan(mask_share=0.3, held_out=5).to_json())
    options = ["--from", toy_model, "--plan", tmp_path / "plan.json", "--steps", 4, "--batch-size", 8]
    result = invoke("train", "mlm", text, "--into", tmp_path / "start", *options)

    assert result.exit_code == 0, result.output
    assert "step 4 of 4" in result.stdout
    assert "on held-out texts" in result.stdout
    used = MlmPlan.from_json((tmp_path / "start" / "training.json").read_text())
    assert used == MlmPlan(mask_share=0.3, held_out=5, steps=4, batch_size=8)
    ranked = run("splade", pairs, tmp_path / "out", tmp_path / "start", "--steps", 2)
    assert ranked.exit_code == 0, ranked.output

    with text.open("ab") as stream:
        stream.write(b"\ncaf\xe9")
    lines = text.read_bytes().count(b"\n") + 1
    result = invoke("train", "mlm", text, "--into", tmp_path / "new", *options)
    assert result.exit_code == 1
    assert f"notes.txt:{lines}: is not UTF-8" in result.stderr
    assert not (tmp_path / "new").exists()


def test_negatives_are_mined_in_an_index(tmp_path: Path) -> None:
    write_examples(tmp_path / "pairs.jsonl", toy_task.examples(12))
    with HybridIndex.open(tmp_path / "kb", encoder=ToyEncoder()) as index:
        index.add([example.positive for example in toy_task.examples(12)])
    options = ["--in", tmp_path / "kb", "--into", tmp_path / "mined.jsonl", "--negatives", 3]
    result = invoke("train", "mine", tmp_path / "pairs.jsonl", *options)

    assert result.exit_code == 0, result.output
    mined = read_examples(tmp_path / "mined.jsonl", negatives=3)
    assert f"{len(mined)} examples with 3 negatives" in " ".join(result.stdout.split())
    assert all(example.positive not in example.negatives for example in mined)


@pytest.mark.parametrize("command", [[], ["splade"], ["colbert"], ["heads"], ["mine"], ["mlm"]])
def test_help_teaches(command: list[str]) -> None:
    result = CliRunner().invoke(app, ["train", *command, "--help"], env={"COLUMNS": "200"})

    assert result.exit_code == 0
    assert "pairs.jsonl" in result.stdout or "JSONL" in result.stdout


def test_without_torch_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch, pairs: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(cli_train.importlib.util, "find_spec", lambda name: None)
    result = invoke("train", "splade", pairs, "--into", tmp_path / "out")

    assert result.exit_code == 1
    assert "pip install 'tercet[train]'" in " ".join(result.stderr.split())
