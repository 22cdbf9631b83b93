"""Training reads a ColBERT's texts as the runtime does, and a ColBERT that is trained so opens there."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.models.export import trunk_tensors, write_model
from tercet.models.load import load_model
from tercet.training.model import SideName, ThreeHeads, Views
from tercet.training.plan import TrainingPlan
from tercet.training.trainer import Trainer, train
from tests.training import toy_task

QUERIES = ["heart attack", "the cat sat on the red mat and rotate keys of a vault!", "a", "!"]
DOCUMENTS = ["the cat sat on the mat.", "heart attack, treatment (protocol)!", "!?", "parse date"]
COLBERT = {"query_marker": "q", "document_marker": "d", "late_specials": True, "query_augmentation": 12}
PLAN = TrainingPlan(
    heads=("late",), steps=60, batch_size=16, held_out=20, learning_rate=1e-2, self_distillation=0.0,
    late_dim=24, query_augmentation=10, markers=True,
)  # fmt: skip


@pytest.fixture
def write(tiny_checkpoint: Path, tmp_path: Path) -> Callable[..., Path]:
    def written(**changes: Any) -> Path:
        loaded = load_model(tiny_checkpoint)
        state = {name: tensor.numpy() for name, tensor in loaded.trunk.state_dict().items()}
        write_model(
            tmp_path / "model",
            config=dataclasses.replace(loaded.config, **changes),
            tokenizer=loaded.tokenizer,
            trunk=trunk_tensors(state, loaded.config.layers),
            sparse=loaded.sparse,
            late=loaded.late,
            calibration=QUERIES,
            card="",
            kept={name: tensor for name, tensor in loaded.weights.items() if not name.endswith(".smooth")},
        )
        return tmp_path / "model"

    return written


@pytest.fixture(autouse=True)
def _markers_of_the_tiny_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tercet.training.model.MARKERS", ("q", "d"))


@torch.no_grad()
def views(model: ThreeHeads, texts: list[str], side: SideName) -> Views:
    read = model.read(texts, side=side, max_tokens=64)
    return model(model.batch(read, range(len(texts))), side=side, heads=("dense", "sparse", "late"))


@pytest.mark.parametrize(
    "reading", [{}, COLBERT, {**COLBERT, "late_specials": False}, {"query_augmentation": 12}, {"late_specials": True}]
)
@pytest.mark.parametrize("frozen", [True, False])
def test_all_three_heads_read_as_the_runtime_does(write: Callable[..., Path], reading: Any, frozen: bool) -> None:
    folder = write(**reading)
    runtime, model = MiniEncoder(folder, precision="f32"), ThreeHeads.open(folder)
    model.freeze(0 if frozen else "all")
    off = 2e-3 if frozen else 1e-5  # cached states are in half precision

    for texts, side, encoded in (
        (QUERIES, "query", runtime.encode_queries(QUERIES)),
        (DOCUMENTS, "document", list(runtime.encode_documents(DOCUMENTS))),
    ):
        made = views(model, texts, side)  # type: ignore[arg-type]
        assert made.dense is not None
        assert made.sparse is not None
        assert made.late is not None
        rows = torch.split(made.late, list(made.late_lengths))
        for number, embedding in enumerate(encoded):
            assert rows[number].numpy() == pytest.approx(embedding.multi_vector.vectors, abs=off)
            assert made.dense[number].numpy() == pytest.approx(embedding.dense, abs=off)
            weights = np.zeros(made.sparse.shape[1], np.float32)
            weights[embedding.sparse.indices] = embedding.sparse.values
            assert made.sparse[number].numpy() == pytest.approx(weights, abs=10 * off)


def test_a_colbert_learns_from_a_bert_and_opens_as_what_it_is(
    tiny_trunk: Path, toy_model: Path, tmp_path: Path
) -> None:
    trunk = toy_model.parent / "trunk"
    report = train(trunk, toy_task.examples(), tmp_path / "new", plan=PLAN)
    encoder = MiniEncoder(tmp_path / "new", precision="f32")

    assert report.after["late"] > report.before["late"] + 0.25
    config = encoder.config
    assert (config.late_dim, config.query_augmentation, config.late_specials) == (24, 10, True)
    assert (config.query_marker, config.document_marker) == ("q", "d")
    assert encoder.encode_query("heart attack").multi_vector.vectors.shape == (10, 24)
    again = ThreeHeads.open(tmp_path / "new")
    made = views(again, ["heart attack"], "query").late
    assert made is not None
    assert made.numpy() == pytest.approx(encoder.encode_query("heart attack").multi_vector.vectors, abs=2e-3)


def test_augmentation_alone_leaves_the_other_heads_bit_for_bit(toy_model: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, markers=False, late_dim=None, steps=3, held_out=0, batch_size=8)
    train(toy_model, toy_task.examples(60), tmp_path / "new", plan=plan)
    before, after = load_model(toy_model), load_model(tmp_path / "new")

    assert after.config.query_augmentation == 10
    assert after.config.late_dim == before.config.late_dim
    for name, tensor in before.weights.items():
        if not name.startswith("late.") and not name.endswith(".smooth"):
            assert np.array_equal(after.weights[name], tensor), name


@pytest.mark.parametrize("dim", [8, 16, 32])
def test_a_head_of_another_size_begins_with_the_principal_directions(toy_model: Path, dim: int) -> None:
    plan = dataclasses.replace(PLAN, markers=False, late_dim=dim, batch_size=8)
    model = ThreeHeads.open(toy_model)
    Trainer(model, toy_task.examples(60), plan)

    weight = model.late.project.weight.detach()
    assert weight.shape == (dim, 32)
    assert (weight @ weight.T).numpy() == pytest.approx(np.eye(dim), abs=1e-5)


def test_markers_are_refused_where_a_head_would_not_learn_with_them(toy_model: Path) -> None:
    with pytest.raises(ValueError, match="dense and sparse would not learn with them; train all its heads"):
        Trainer(ThreeHeads.open(toy_model), toy_task.examples(60), dataclasses.replace(PLAN, batch_size=8))
    everything = dataclasses.replace(PLAN, heads=("dense", "sparse", "late"), unfrozen_layers=1, batch_size=8)
    assert Trainer(ThreeHeads.open(toy_model), toy_task.examples(60), everything).model.config.query_marker == "q"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"late_dim": 33}, "late_dim 33 is more than the 32"), ({"query_augmentation": 65}, "than the 64 positions")],
)
def test_what_the_trunk_cannot_hold_is_named(toy_model: Path, changes: dict[str, int], message: str) -> None:
    plan = dataclasses.replace(PLAN, markers=False, batch_size=8, **changes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        Trainer(ThreeHeads.open(toy_model), toy_task.examples(60), plan)


def test_augmentation_that_is_attended_to_is_not_trained(write: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match=r"attend to its .*MultiVectorEncoderTrainer"):
        ThreeHeads.open(write(query_augmentation=12, attend_to_augmentation=True))


def test_an_unknown_marker_is_named(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tercet.training.model.MARKERS", ("[unused0]", "[unused1]"))
    with pytest.raises(CheckpointError, match=r"has no \[unused0\]"):
        ThreeHeads.open(toy_model).read_as_colbert(markers=True, augmentation=None, late_dim=None)


def test_options_of_late_interaction_ask_for_the_late_head() -> None:
    with pytest.raises(ValueError, match="late_dim and markers are about the late head; add it to heads"):
        TrainingPlan(heads=("sparse",), late_dim=48, markers=True)
