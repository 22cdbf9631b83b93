from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tercet.checkpoint import Checkpoint, default_checkpoint
from tercet.errors import CheckpointError
from tercet.model_card import facts, file_sizes, model_card, part_sizes

EVALUATION = {
    "collection": "data/cranfield",
    "queries": 225,
    "documents": 1400,
    "encoder": "mine (int8)",
    "measures": ["nDCG@10", "R@100"],
    "systems": {
        "bm25": {"scores": {"nDCG@10": 0.4321, "R@100": 0.7}},
        "final": {"scores": {"nDCG@10": 0.5, "R@100": 0.8}},
    },
}


def test_parameters_are_those_of_the_architecture(tiny_checkpoint: Path) -> None:
    found = {part.name: part for part in part_sizes(Checkpoint.open(tiny_checkpoint))}
    hidden, vocabulary = 32, 121
    layer = 4 * (hidden * hidden + hidden) + 2 * hidden * 64 + 64 + hidden + 4 * hidden
    trunk = vocabulary * hidden + 64 * hidden + 2 * hidden + 2 * layer

    assert found["trunk"].parameters == trunk
    assert found["late"].parameters == hidden * 12
    assert found["late"].stored_bytes == 2 * hidden * 12 + 4 * hidden  # and the factors of int8


def test_all_stored_bytes_are_told(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    stored = sum(part.stored_bytes for part in part_sizes(checkpoint))
    header = int.from_bytes((tiny_checkpoint / "model.safetensors").read_bytes()[:8], "little") + 8

    assert stored + header == file_sizes(checkpoint)["model.safetensors"]


def test_the_card_of_a_checkpoint_with_three_heads_says_how_to_open_it(tiny_checkpoint: Path) -> None:
    card = model_card(Checkpoint.open(tiny_checkpoint))

    assert 'encoder=MiniEncoder("tiny")' in card
    assert "| late head: 32 → 12 | 384 |" in card
    assert "## Training" not in card
    assert "## Results" not in card
    assert "MiniEncoder()" in model_card(Checkpoint.open(default_checkpoint()))


def test_the_card_tells_how_a_colbert_reads(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    config = dataclasses.replace(
        checkpoint.config, heads=("late",), query_marker="[Q]", late_specials=True, query_augmentation=32
    )
    card = model_card(Checkpoint(checkpoint.folder, config))

    assert "after the marker `[Q]`; filled up to 32 with [MASK]s, not seen by the query's own tokens" in card
    assert 'ComposedEncoder.load(dense="tercet-mini", sparse="tercet-mini", late="tiny")' in card


def test_results_and_training_stand_in_the_card(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "trained")
    (folder / "training.json").write_text(
        json.dumps({"model": "base", "examples": "f00", "plan": {"steps": 7, "margin": 0}})
    )
    (folder / "training.csv").write_text("step,loss,ndcg_sparse\n0,,0.31\n1,2.5,\n7,1.5,0.42\n")
    card = model_card(Checkpoint.open(folder), [EVALUATION])

    assert "| `steps` | `7` |" in card
    assert "margin" not in card
    assert "| ndcg_sparse | 0.31 | 0.42 |" in card
    assert "cranfield: 225 queries, 1,400 documents, mine (int8)." in card
    assert "| bm25 | 0.432 | 0.700 |" in card


def test_what_is_no_evaluation_and_no_plan_is_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no result of `tercet evaluate --json`: KeyError\('measures'\)"):
        model_card(Checkpoint.open(tiny_checkpoint), [{"systems": {}}])
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "broken")
    (folder / "training.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"what training has left in .* cannot be read"):
        model_card(Checkpoint.open(folder))


def test_facts_are_json(tiny_checkpoint: Path) -> None:
    found = json.loads(json.dumps(facts(Checkpoint.open(tiny_checkpoint))))

    assert set(found["files"]) >= {"model.safetensors", "tercet.json", "graph.int8.onnx"}
