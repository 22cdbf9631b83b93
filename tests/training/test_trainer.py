"""Learning tests: the loss falls, and queries that were never seen rank better than before; and what a run survives."""

import csv
import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError, InvalidTrainingData, TrainingCollapsed
from tercet.training.data import Example
from tercet.training.model import ThreeHeads
from tercet.training.plan import TrainingPlan
from tercet.training.trainer import Trainer, TrainingReport, train
from tests import tiny
from tests.training import toy_task

PLAN = TrainingPlan(
    steps=60,
    batch_size=16,
    held_out=20,
    learning_rate=1e-2,
    trunk_learning_rate=1e-3,
    self_distillation=0.0,
    target_document_terms=12,
    target_query_terms=8,
)
HEADS = ("dense_", "sparse_", "late_")
SHORT = dataclasses.replace(PLAN, steps=6, held_out=0, batch_size=8, save_every=2)


def fitted(model: Path, **changes: Any) -> tuple[Trainer, TrainingReport]:
    plan = dataclasses.replace(PLAN, **changes)
    trainer = Trainer(ThreeHeads.open(model), toy_task.examples(negatives=plan.negatives), plan)
    return trainer, trainer.fit()


def losses(report: TrainingReport) -> list[float]:
    return [row["loss"] for row in report.log[1:]]


def assert_learnt(report: TrainingReport, *heads: str, below: float = 0.6) -> None:
    ranking = [
        sum(value for name, value in row.items() if name.startswith(HEADS) and not name.endswith("regularizer"))
        for row in report.log[1:]
    ]
    assert np.mean(ranking[-5:]) < below * np.mean(ranking[:5])
    after: Mapping[str, float] = report.after
    before: Mapping[str, float] = report.before
    for head in heads:
        assert after[head] > before[head] + 0.25, (before, after)


# --- learning ---


def test_the_sparse_head_learns(toy_model: Path) -> None:
    _, report = fitted(toy_model, heads=("sparse",))

    assert_learnt(report, "sparse")
    assert report.after["late"] == report.before["late"]


def test_the_late_head_learns(toy_model: Path) -> None:
    _, report = fitted(toy_model, heads=("late",))

    assert_learnt(report, "late")
    assert report.after["sparse"] == report.before["sparse"]


def test_all_three_heads_learn_with_their_trunk(toy_model: Path) -> None:
    _, report = fitted(toy_model, heads=("dense", "sparse", "late"), unfrozen_layers="all", self_distillation=0.5)

    assert_learnt(report, "dense", "sparse", "late")


def test_a_teachers_scores_are_learnt_from_without_labels(toy_model: Path) -> None:
    _, report = fitted(toy_model, heads=("late",), negatives=3, contrast=0.0, kl_divergence=1.0)

    assert_learnt(report, "late")


def test_a_teachers_margins_are_learnt_from(toy_model: Path) -> None:
    _, report = fitted(toy_model, heads=("sparse",), negatives=3, contrast=0.0, margin_mse=0.1)

    assert_learnt(report, "sparse")


def test_margin_ranking_learns(toy_model: Path) -> None:
    _, report = fitted(toy_model, heads=("late",), negatives=3, contrast=0.0, margin_ranking=1.0)

    assert_learnt(report, "late")


@pytest.mark.parametrize("changes", [{"pooling": "sum"}, {"queries": "inference-free", "query_regularizer": "l1"}])
def test_the_other_forms_of_splade_learn_in_memory(toy_model: Path, changes: dict[str, Any]) -> None:
    _, report = fitted(
        toy_model, heads=("sparse",), steps=150, lambda_rate=0.15, document_regularizer="df_flops", **changes
    )

    assert_learnt(report, "sparse", below=0.7)


@pytest.mark.parametrize("target", [6, 14])
def test_lambda_brings_the_terms_to_their_target(toy_model: Path, target: int) -> None:
    _, report = fitted(
        toy_model,
        heads=("sparse",),
        steps=250,
        target_document_terms=target,
        target_query_terms=target,
        held_out=0,
        lambda_rate=0.2,
    )
    tail = report.log[-40:]

    for side in ("query", "document"):
        assert np.mean([row[f"{side}_terms"] for row in tail]) == pytest.approx(target, rel=0.15)


def test_a_bert_alone_becomes_a_model(toy_model: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, heads=("late",), steps=30)
    report = train(toy_model.parent / "trunk", toy_task.examples(), tmp_path / "new", plan=plan)

    assert_learnt(report, "late", below=0.8)
    assert MiniEncoder(tmp_path / "new").encode_query("cat dog").multi_vector.vectors.shape == (2, 32)
    assert "from " + str(toy_model.parent / "trunk") in (tmp_path / "new" / "README.md").read_text()


def test_the_log_has_a_row_for_each_step_and_ndcg_where_it_was_measured(toy_model: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(SHORT, held_out=5, evaluate_every=3)
    seen: list[Mapping[str, float]] = []
    train(toy_model, toy_task.examples(60), tmp_path / "new", plan=plan, observe=seen.append)
    with (tmp_path / "new" / "training.csv").open() as stream:
        rows = list(csv.DictReader(stream))

    assert [float(row["step"]) for row in rows] == list(range(7))
    assert [bool(row["ndcg_sparse"]) for row in rows] == [True, False, False, True, False, False, True]
    assert all(float(row["document_terms"]) > 0 and float(row["document_lambda"]) > 0 for row in rows[1:])
    assert [row.get("loss") for row in seen[1:]] == [float(row["loss"]) for row in rows[1:]]


# --- the same vectors as the runtime ---


def test_the_runtime_sees_what_was_trained(toy_model: Path, tmp_path: Path) -> None:
    train(toy_model, toy_task.examples(), tmp_path / "new", plan=PLAN, name="mine")
    runtime, model = MiniEncoder(tmp_path / "new", precision="f32"), ThreeHeads.open(tmp_path / "new")
    texts = ["cat dog mat", "the green apple, chased!", "!?"]
    with torch.inference_mode():
        for side, encoded in (
            ("query", runtime.encode_queries(texts)),
            ("document", list(runtime.encode_documents(texts))),
        ):
            read = model.read(texts, side=side, max_tokens=40)  # type: ignore[arg-type]
            views = model(model.batch(read, range(3)), side=side, heads=("dense", "sparse", "late"))
            assert views.late_lengths == tuple(len(text.multi_vector.vectors) for text in encoded)
            rows = views.late.split(list(views.late_lengths))
            for text, embedding in enumerate(encoded):
                assert np.allclose(views.dense[text], embedding.dense, atol=2e-3)
                assert np.allclose(rows[text], embedding.multi_vector.vectors, atol=5e-3)
                weights = np.zeros(model.config.vocabulary_size, np.float32)
                weights[embedding.sparse.indices] = embedding.sparse.values
                assert np.allclose(views.sparse[text], weights, atol=5e-3)

    assert runtime.spec.name == "mine (f32)"
    plan = json.loads((tmp_path / "new" / "training.json").read_text())["plan"]
    assert TrainingPlan.from_json(json.dumps(plan)) == PLAN
    assert "nDCG@10" in (tmp_path / "new" / "README.md").read_text()
    assert not (tmp_path / "new" / "training.safetensors").exists()


def test_queries_without_a_model_are_looked_up_in_what_was_learnt(toy_model: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, heads=("sparse",), queries="inference-free", steps=10)
    train(toy_model, toy_task.examples(), tmp_path / "new", plan=plan)
    runtime, model = MiniEncoder(tmp_path / "new"), ThreeHeads.open(tmp_path / "new")
    assert model.query_table is not None
    query = runtime.encode_query("cat dog cat!")
    ids = [tiny.VOCABULARY.index(word) for word in ("cat", "dog")]  # a lone mark is no term

    assert runtime.terms(query.sparse.indices) == ["cat", "dog"]
    assert query.sparse.values == pytest.approx(model.query_table.weights.detach()[ids].numpy(), rel=1e-5)
    assert runtime.query_origins("cat dog cat!") == {ids[0]: 0, ids[1]: 1}
    [document] = runtime.encode_documents(["cat dog cat!"])
    assert len(document.sparse.indices) > 2


def test_a_head_that_was_not_trained_stays_bit_for_bit(toy_model: Path, tmp_path: Path) -> None:
    train(toy_model, toy_task.examples(), tmp_path / "new", plan=dataclasses.replace(SHORT, heads=("late",)))
    old, new = (
        MiniEncoder(folder, precision="f32").encode_query("cat dog") for folder in (toy_model, tmp_path / "new")
    )

    assert np.array_equal(old.sparse.values, new.sparse.values)
    assert np.array_equal(old.dense, new.dense)
    assert not np.allclose(old.multi_vector.vectors, new.multi_vector.vectors, atol=1e-3)


# --- gradients ---


def gradients(model: Path, **changes: Any) -> dict[str, torch.Tensor]:
    plan = dataclasses.replace(
        SHORT, heads=("dense", "sparse", "late"), unfrozen_layers="all", self_distillation=1.0, negatives=2, **changes
    )
    trainer = Trainer(ThreeHeads.open(model), toy_task.examples(60, negatives=2), plan)
    trainer._gradients(trainer.training[:8], 5, 0)
    parameters = trainer.optimizer.parameters
    return {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_gradient_caching_changes_no_gradient(toy_model: Path, chunk: int) -> None:
    whole, cached = gradients(toy_model), gradients(toy_model, chunk_size=chunk)

    assert whole.keys() == cached.keys()
    for name, gradient in whole.items():
        assert torch.allclose(gradient, cached[name], atol=1e-5), name


def test_accumulated_batches_are_the_mean_of_their_gradients(toy_model: Path) -> None:
    def trainer(accumulate: int) -> Trainer:
        plan = dataclasses.replace(SHORT, accumulate=accumulate)
        return Trainer(ThreeHeads.open(toy_model), toy_task.examples(60), plan)

    single, double = trainer(1), trainer(2)
    first, second = single.training[:8], single.training[8:16]
    single._gradients(first, 5, 0)
    single._gradients(second, 5, 0)
    double._gradients(first, 5, 0)
    double._gradients(second, 5, 1)

    for name, parameter in single.optimizer.parameters.items():
        gradient = double.optimizer.parameters[name].grad
        assert parameter.grad is not None
        assert gradient is not None
        assert torch.allclose(parameter.grad / 2, gradient, atol=1e-6), name


@pytest.mark.parametrize("layers", [0, 1, 2, "all"])
def test_what_is_frozen_stays_and_what_is_not_moves(toy_model: Path, layers: Any) -> None:
    before = {name: tensor.clone() for name, tensor in ThreeHeads.open(toy_model).trunk.state_dict().items()}
    trainer = Trainer(
        ThreeHeads.open(toy_model), toy_task.examples(60), dataclasses.replace(SHORT, unfrozen_layers=layers)
    )
    trainer.fit()
    moved = {name for name, tensor in trainer.model.trunk.state_dict().items() if not torch.equal(tensor, before[name])}

    parts = {"embeddings." if name.startswith("embeddings.") else name[:16] for name in moved}
    expected = {0: set(), 1: {"encoder.layer.1."}, 2: {"encoder.layer.0.", "encoder.layer.1."}}
    assert parts == expected.get(layers, {"embeddings.", "encoder.layer.0.", "encoder.layer.1."})


def test_bf16_learns_too(toy_model: Path) -> None:
    _, report = fitted(toy_model, heads=("sparse", "late"), unfrozen_layers=1, precision="bf16", steps=40)

    assert_learnt(report, "late")


# --- a run that is stopped ---


class Killed(BaseException):
    """What no code catches, like a kill."""


@pytest.mark.parametrize("layers", [0, 1])
def test_a_killed_run_goes_on_with_the_same_losses(toy_model: Path, tmp_path: Path, layers: int) -> None:
    given = toy_task.examples(60, negatives=2)
    plan = dataclasses.replace(
        SHORT, steps=9, unfrozen_layers=layers, negatives=1, held_out=5, document_regularizer="df_flops"
    )
    whole = train(toy_model, given, tmp_path / "whole", plan=plan)

    def kill(row: Mapping[str, float]) -> None:
        if row["step"] == 5:
            raise Killed

    with pytest.raises(Killed):
        train(toy_model, given, tmp_path / "killed", plan=plan, observe=kill)
    with pytest.raises(CheckpointError, match="holds an unfinished run; resume it"):
        train(toy_model, given, tmp_path / "killed", plan=plan)
    resumed = train(toy_model, given, tmp_path / "killed", plan=plan, resume=True)

    assert losses(resumed) == losses(whole)
    assert resumed.after == whole.after
    with (tmp_path / "killed" / "training.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["loss"]) for row in rows[1:]] == losses(whole)
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_a_run_that_was_killed_before_its_first_state_begins_again(toy_model: Path, tmp_path: Path) -> None:
    def kill(row: Mapping[str, float]) -> None:
        raise Killed

    with pytest.raises(Killed):
        train(toy_model, toy_task.examples(60), tmp_path / "new", plan=SHORT, observe=kill)
    assert len(train(toy_model, toy_task.examples(60), tmp_path / "new", plan=SHORT, resume=True).log) == 7


def test_another_plan_or_other_data_cannot_resume_a_run(toy_model: Path, tmp_path: Path) -> None:
    def kill(row: Mapping[str, float]) -> None:
        if row["step"] == 3:
            raise Killed

    given = toy_task.examples(60)
    with pytest.raises(Killed):
        train(toy_model, given, tmp_path / "new", plan=SHORT, observe=kill)
    other = dataclasses.replace(SHORT, learning_rate=0.5)
    with pytest.raises(CheckpointError, match=r"begun with plan of another kind \(learning_rate 0.01 → 0.5\)"):
        train(toy_model, given, tmp_path / "new", plan=other, resume=True)
    with pytest.raises(CheckpointError, match="begun with examples of another kind"):
        train(toy_model, given[1:], tmp_path / "new", plan=SHORT, resume=True)


def test_a_finished_model_is_neither_overwritten_nor_resumed(toy_model: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_model, tmp_path / "old")
    with pytest.raises(CheckpointError, match="holds a finished model; train into another folder"):
        train(toy_model, toy_task.examples(60), tmp_path / "old", plan=SHORT)
    with pytest.raises(CheckpointError, match="holds no unfinished run"):
        train(toy_model, toy_task.examples(60), tmp_path / "old", plan=SHORT, resume=True)


def test_a_state_that_is_damaged_is_named(toy_model: Path, tmp_path: Path) -> None:
    def kill(row: Mapping[str, float]) -> None:
        if row["step"] == 3:
            raise Killed

    with pytest.raises(Killed):
        train(toy_model, toy_task.examples(60), tmp_path / "new", plan=SHORT, observe=kill)
    (tmp_path / "new" / "training.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(CheckpointError, match=r"training.safetensors cannot be read .* delete it"):
        train(toy_model, toy_task.examples(60), tmp_path / "new", plan=SHORT, resume=True)


# --- what cannot work ---


def test_a_loss_that_is_no_number_stops_the_run(toy_model: Path) -> None:
    model = ThreeHeads.open(toy_model)
    with torch.no_grad():
        model.late.project.weight[0, 0] = torch.nan
    trainer = Trainer(model, toy_task.examples(60), dataclasses.replace(SHORT, heads=("late",)))

    with pytest.raises(TrainingCollapsed, match=r"step 1: the loss is nan.* lower learning_rate"):
        trainer.fit()


def test_a_lambda_that_kills_the_vectors_stops_the_run(toy_model: Path) -> None:
    with pytest.raises(TrainingCollapsed, match=r"(query|document) vectors died"):
        fitted(
            toy_model,
            heads=("sparse",),
            steps=200,
            contrast=1e-3,
            target_document_terms=None,
            target_query_terms=None,
            document_lambda=100.0,
            query_lambda=100.0,
            guard_patience=10,
        )


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example("", "p"), "empty query"),
        (Example("q", "p", ("p",)), "its positive is one of its negatives"),
        (Example("q", "p", ("n",), (1.0,)), "has 1 scores, expected 2"),
    ],
)
def test_bad_examples_are_refused_before_training(toy_model: Path, example: Example, message: str) -> None:
    with pytest.raises(InvalidTrainingData, match=message):
        Trainer(ThreeHeads.open(toy_model), [*toy_task.examples(30), example], SHORT)


def test_examples_without_what_the_plan_asks_for_are_refused(toy_model: Path) -> None:
    with pytest.raises(InvalidTrainingData, match="example 1 has 0 negatives, the plan asks for 2"):
        Trainer(ThreeHeads.open(toy_model), toy_task.examples(60), dataclasses.replace(SHORT, negatives=2))
    with pytest.raises(ValueError, match="a batch of 500 needs at least 500 examples"):
        Trainer(ThreeHeads.open(toy_model), toy_task.examples(60), dataclasses.replace(SHORT, batch_size=500))
    with pytest.raises(ValueError, match="has 2 layers, 3 cannot be unfrozen"):
        Trainer(ThreeHeads.open(toy_model), toy_task.examples(60), dataclasses.replace(SHORT, unfrozen_layers=3))


def test_a_checkpoint_records_that_it_pools_by_sum(toy_model: Path, tmp_path: Path) -> None:
    train(toy_model, toy_task.examples(60), tmp_path / "new", plan=dataclasses.replace(SHORT, pooling="sum"))

    assert ThreeHeads.open(tmp_path / "new").pooling == "sum"


def test_a_trunk_that_leaves_a_head_behind_is_warned_of(toy_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Trainer(ThreeHeads.open(toy_model), toy_task.examples(60), dataclasses.replace(SHORT, unfrozen_layers=1))

    assert "only sparse and late learns from it" in caplog.text
