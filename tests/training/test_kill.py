"""kill -9 on a process that trains, wherever it stands; then --resume, until it ends: the loss curve is the same."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tercet.training.data import read_examples, write_examples
from tercet.training.mlm import train_mlm_into
from tercet.training.mlm_plan import MlmPlan
from tercet.training.plan import TrainingPlan
from tercet.training.texts import read_texts
from tercet.training.trainer import train
from tests.training import toy_task


def start(kind: str, data: Path, model: Path, into: Path, *more: str) -> subprocess.Popen[bytes]:
    words = [
        "train",
        kind,
        str(data),
        "--from",
        str(model),
        "--into",
        str(into),
        "--plan",
        str(data.parent / "plan.json"),
    ]
    return subprocess.Popen(
        [sys.executable, "-c", "from tercet.cli import app; app()", *words, *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output.decode()


def rows(log: Path) -> int:
    return log.read_text().count("\n") - 1 if log.exists() else 0


def kill_at(process: subprocess.Popen[bytes], log: Path, row: int) -> None:
    deadline = time.monotonic() + 120
    while rows(log) < row:
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()


def curve(log: Path) -> list[tuple[str, str]]:
    with log.open(newline="") as stream:
        return [(row["step"], row["loss"]) for row in csv.DictReader(stream)]


# Killed at these rows of its log. States are saved every 7 steps, so each kill loses some.
@pytest.mark.parametrize(("kind", "kills"), [("heads", (40, 200)), ("mlm", (60,))])
def test_a_run_that_is_killed_has_the_loss_curve_of_one_that_was_not(
    kind: str, kills: tuple[int, ...], toy_model: Path, tmp_path: Path
) -> None:
    examples = toy_task.examples(60)
    if kind == "mlm":
        data = tmp_path / "text.txt"
        data.write_text("\n\n".join(example.positive for example in examples))
        masked = MlmPlan(steps=400, batch_size=8, save_every=7)
        (tmp_path / "plan.json").write_text(masked.to_json())
        train_mlm_into(str(toy_model), read_texts(data), tmp_path / "whole", plan=masked)
    else:
        data = tmp_path / "pairs.jsonl"
        write_examples(data, examples)
        plan = TrainingPlan(steps=400, batch_size=8, save_every=7, held_out=0, target_document_terms=12)
        (tmp_path / "plan.json").write_text(plan.to_json())
        train(str(toy_model), read_examples(data), tmp_path / "whole", plan=plan)

    log, more = tmp_path / "killed" / "training.csv", list[str]()
    for row in kills:
        kill_at(start(kind, data, toy_model, tmp_path / "killed", *more), log, row)
        more = ["--resume"]
    finish(start(kind, data, toy_model, tmp_path / "killed", *more))

    assert len(curve(log)) == 401
    assert curve(log) == curve(tmp_path / "whole" / "training.csv")
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "killed")]
    assert weights[0] == weights[1]
    assert sorted(path.name for path in (tmp_path / "killed").glob("training*")) == ["training.csv", "training.json"]


def test_a_run_that_was_killed_while_it_wrote_its_model_writes_it_again(toy_model: Path, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    plan = TrainingPlan(steps=3, batch_size=8, save_every=1, held_out=0)
    examples = toy_task.examples(60)

    def kill(row: dict[str, float]) -> None:
        if row["step"] == 3:
            raise Killed

    with pytest.raises(Killed):
        train(toy_model, examples, tmp_path / "new", plan=plan, observe=kill)
    # Of a checkpoint, this is written late: whoever finds it takes the folder for a model.
    (tmp_path / "new" / "tercet.json").write_text("{}")
    train(toy_model, examples, tmp_path / "new", plan=plan, resume=True)
    train(toy_model, examples, tmp_path / "whole", plan=plan)

    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "new")]
    assert weights[0] == weights[1]
