from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import MultiVectorEncoder

from tercet import HybridIndex
from tercet.checkpoint import Checkpoint
from tercet.encoders.composed import ComposedEncoder
from tests.cli.commands import Run, invoke
from tests.models import foreign

SENTENCES = "the cat sat on the mat\nrotate the keys of the vault\n\nheart attack treatment\n"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    (tmp_path / "sample.txt").write_text(SENTENCES)
    return tmp_path / "sample.txt"


def output(result: Any) -> str:
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_a_splade_and_a_colbert_come_in_and_search_together(
    run: Run, tmp_path: Path, tiny_checkpoint: Path, sample: Path
) -> None:
    foreign.write_splade(tmp_path / "splade")
    foreign.write_pylate(tmp_path / "colbert")
    told = output(run("model", "import", "splade", "--into", "my-splade", "--sample", str(sample)))
    output(run("model", "import", "colbert", "--into", "my-colbert", "--sample", str(sample)))

    assert "my-splade holds the sparse head: ComposedEncoder.load(dense='tercet-mini', sparse='my-splade'" in told
    encoder = ComposedEncoder.load(dense=str(tiny_checkpoint), sparse="my-splade", late="my-colbert")
    index = HybridIndex.in_memory(encoder=encoder)
    index.add(SENTENCES.split("\n")[:2])
    assert index.search("rotate keys")[0].text == "rotate the keys of the vault"


def test_without_a_sample_docstrings_give_the_ranges(run: Run, tmp_path: Path) -> None:
    foreign.write_dense(tmp_path / "dense")
    output(run("model", "import", "dense", "--into", "mine"))

    assert "layer.0.up" in Checkpoint.open(tmp_path / "mine").config.activation_ranges


def test_a_checkpoint_goes_out_by_head(run: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    told = output(run("model", "export", str(tiny_checkpoint), "--into", "out", "--head", "late"))

    assert told == "late: out/late\n"
    assert MultiVectorEncoder(str(tmp_path / "out" / "late"), device="cpu").encode_query(["a cat"])[0].shape == (2, 12)


def test_info_tells_heads_and_sizes(tiny_checkpoint: Path) -> None:
    told = output(invoke("model", "info", str(tiny_checkpoint)))
    found = json.loads(output(invoke("model", "info", str(tiny_checkpoint), "--json")))

    assert "up to 64 word pieces" in told
    assert found["heads"] == ["dense", "sparse", "late"]
    assert found["parts"]["late"]["parameters"] == 32 * 12


def test_a_card_is_printed_or_written(run: Run, tmp_path: Path, sample: Path) -> None:
    foreign.write_splade(tmp_path / "splade")
    output(run("model", "import", "splade", "--into", "mine", "--sample", str(sample)))
    card = output(run("model", "card", "mine"))
    run("model", "card", "mine", "--write")

    assert (tmp_path / "mine" / "README.md").read_text() == card


def test_build_shows_the_recipes_own_options() -> None:
    told = output(invoke("model", "build", "--help"))

    assert "tercet model build [OPTIONS]" in told
    assert "Folder with train/ and text/" in told


@pytest.mark.parametrize("command", [[], ["info"], ["card"], ["import"], ["export"]])
def test_each_help_shows_a_command_to_type(command: list[str]) -> None:
    assert "tercet model " in output(invoke("model", *command, "--help"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["info", "nowhere"], "'nowhere' is not a tercet checkpoint"),
        (["export", "nowhere"], "there is no model 'nowhere'; name a folder that exists"),
        (["import", "nowhere", "--into", "new"], "there is no model 'nowhere'"),
        (["import", "org/model", "--into", "new"], "the hub cannot be asked"),
        (["import", "splade", "--into", "."], ". is not empty; name a folder that is, or is not there yet"),
        (["import", "splade", "--into", "new", "--sample", "empty.txt"], "empty.txt holds no text; give one text a"),
        (["card", "--results", "empty.txt"], "empty.txt is no result of tercet evaluate --json"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(run: Run, tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "splade").mkdir()
    result = run("model", *arguments)

    assert result.exit_code == 1
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
