"""How important a query's rows are: by hand, in the encoder and in training alike."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tercet.checkpoint import CONFIG_FILE, Checkpoint, ModelConfig
from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.index import HybridIndex
from tercet.scoring import importance
from tercet.training.model import ThreeHeads
from tercet.types import MultiVector, SparseVector

QUERIES = ["heart attack treatment", "the cat sat on the mat", "rotate keys", "!"]


def with_importance(source: Path, folder: Path, strength: float) -> Path:
    shutil.copytree(source, folder)
    config = dataclasses.replace(Checkpoint.open(folder).config, late_importance=strength)
    (folder / CONFIG_FILE).write_text(config.to_json(), encoding="utf-8")
    return folder


def test_a_row_counts_what_its_word_weighs() -> None:
    sparse = SparseVector(np.array([3, 8]), np.array([1.5, 0.5], np.float32))

    # 1 + 2 · (1.5, 0, .5) = (4, 1, 2), divided by their mean 7/3
    assert importance(np.array([3, 5, 8]), sparse, 2.0) == pytest.approx([12 / 7, 3 / 7, 6 / 7])


def test_the_encoder_weighs_the_rows_of_queries_and_leaves_documents_alone(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    weighted = MiniEncoder(with_importance(tiny_checkpoint, tmp_path / "weighted", 2.0), precision="f32")
    plain = MiniEncoder(tiny_checkpoint, precision="f32")
    query, same = weighted.encode_query(QUERIES[0]), plain.encode_query(QUERIES[0])
    tokens = np.array([token.token_id for token in plain.query_tokens(QUERIES[0]).late])
    lengths = importance(tokens, same.sparse, 2.0)

    assert np.ptp(lengths) > 0.01
    assert query.multi_vector.importance == pytest.approx(lengths)
    assert query.multi_vector.weighted == pytest.approx(same.multi_vector.vectors * lengths[:, None])
    assert np.array_equal(query.dense, same.dense)
    [document], [other] = (list(encoder.encode_documents([QUERIES[1]])) for encoder in (weighted, plain))
    assert np.array_equal(document.multi_vector.vectors, other.multi_vector.vectors)
    assert weighted.spec.fingerprint != plain.spec.fingerprint


@pytest.mark.parametrize("heads", [["late"], ["sparse", "late"]])
def test_training_sees_the_rows_that_the_encoder_makes(tiny_checkpoint: Path, tmp_path: Path, heads: list[str]) -> None:
    folder = with_importance(tiny_checkpoint, tmp_path / "weighted", 2.0)
    model, encoder = ThreeHeads.open(folder), MiniEncoder(folder, precision="f32")
    read = model.read(QUERIES, side="query", max_tokens=40)
    with torch.no_grad():
        views = model.forward(model.batch(read, range(len(QUERIES))), side="query", heads=heads)  # type: ignore[arg-type]
    assert views.late is not None

    expected = np.concatenate([encoder.encode_query(query).multi_vector.weighted for query in QUERIES])
    assert views.late.numpy() == pytest.approx(expected, abs=2e-3)  # states are kept as f16


def test_importance_needs_both_heads(tiny_checkpoint: Path) -> None:
    config: ModelConfig = Checkpoint.open(tiny_checkpoint).config

    with pytest.raises(CheckpointError, match="holds only dense and late"):
        dataclasses.replace(config, heads=("dense", "late"), late_importance=1.0)


def test_an_explanation_of_weighted_rows_adds_up(tiny_checkpoint: Path, tmp_path: Path) -> None:
    encoder = MiniEncoder(with_importance(tiny_checkpoint, tmp_path / "weighted", 2.0), precision="f32")
    index = HybridIndex.in_memory(encoder=encoder)
    index.add(QUERIES[:3])
    [hit, *_] = index.search(QUERIES[0])
    explanation = index.explain(QUERIES[0], hit.id)

    assert {match.importance for match in explanation.matches} != {1.0}
    assert sum(match.contribution for match in explanation.matches) == pytest.approx(explanation.stage("late").score)


def test_importance_is_one_number_for_each_row() -> None:
    rows = np.eye(3, dtype=np.float32)

    for wrong in ([1.0, 1.0], [1.0, -1.0, 1.0], [1.0, np.nan, 1.0]):
        with pytest.raises(ValueError, match="for each of 3 rows"):
            MultiVector(rows, np.array(wrong, np.float32))
