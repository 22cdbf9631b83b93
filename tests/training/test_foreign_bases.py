"""Models of other libraries as the start of training: their head goes on from where it is, the others begin."""

from pathlib import Path

import numpy as np
import pytest

from tercet.checkpoint import MASKED_WORDS
from tercet.encoders.mini import MiniEncoder
from tercet.training.model import ThreeHeads
from tercet.training.plan import TrainingPlan
from tercet.training.trainer import train
from tests.models import foreign
from tests.training import toy_task

PLAN = TrainingPlan(heads=("sparse", "late"), steps=2, batch_size=8, held_out=5, learning_rate=1e-6)


def test_a_splade_is_trained_on_and_gets_the_other_heads(tmp_path: Path) -> None:
    folder = foreign.write_splade(tmp_path / "splade")
    report = train(folder, toy_task.examples(60), tmp_path / "new", plan=PLAN)
    encoder = MiniEncoder(tmp_path / "new", precision="f32")

    assert encoder.config.sparse_form == MASKED_WORDS
    assert set(report.after) >= {"sparse", "late"}
    before, after = ThreeHeads.open(folder).sparse, ThreeHeads.open(tmp_path / "new").sparse
    # Two steps of a millionth each, and the rounding of what is stored: the head that came is the head that stays.
    assert np.allclose(before.transform.weight.detach(), after.transform.weight.detach(), atol=2e-3)
    assert encoder.encode_query("a cat").sparse.values.sum() > 0


def test_a_colbert_keeps_its_markers_and_its_projection(tmp_path: Path) -> None:
    folder = foreign.write_pylate(tmp_path / "colbert")
    train(folder, toy_task.examples(60), tmp_path / "new", plan=PLAN)
    before, after = ThreeHeads.open(folder), ThreeHeads.open(tmp_path / "new")

    assert after.config.query_marker == "[unused0]"
    assert np.allclose(before.late.project.weight.detach(), after.late.project.weight.detach(), atol=2e-3)


@pytest.mark.parametrize("side", ["query", "document"])
def test_training_sees_the_vectors_that_the_checkpoint_gives(tmp_path: Path, side: str) -> None:
    train(foreign.write_splade(tmp_path / "splade"), toy_task.examples(60), tmp_path / "new", plan=PLAN)
    model, encoder = ThreeHeads.open(tmp_path / "new"), MiniEncoder(tmp_path / "new", precision="f32")
    text = "the cat sat on the mat"
    read = model.read([text], side=side, max_tokens=64)  # type: ignore[arg-type]
    views = model(model.batch(read, [0]), side=side, heads=("sparse",))
    found = (encoder.encode_query(text) if side == "query" else next(encoder.encode_documents([text]))).sparse

    weights = np.zeros(views.sparse.shape[1], np.float32)
    weights[found.indices] = found.values
    assert weights == pytest.approx(views.sparse[0].detach().numpy(), abs=5e-3)  # states are kept in float16
