"""A run: whoever can take steps in, a log of them out; kept in a folder, it goes on where it was stopped."""

from __future__ import annotations

import csv
import io
import itertools
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from tercet.errors import CheckpointError
from tercet.training.resume import UNFINISHED, load_state, replace_text, save_state

logger = logging.getLogger(__name__)

PLAN_FILE, LOG_FILE, STATE_FILE = "training.json", "training.csv", "training.safetensors"

Row = dict[str, float]
Observer = Callable[[Row], None]
State = tuple[dict[str, Tensor], dict[str, Any]]


class Learner(Protocol):
    """A trainer, as a run sees it."""

    def begin(self, step: int) -> None:
        """Find the place in the data where this step's batch lies."""

    def step(self, step: int) -> Row:
        """Learn from one batch; what it cost, by name."""
        ...

    def measure(self) -> Row:
        """How well it does on what was held out, by name."""
        ...

    def state(self) -> State:
        """Everything the next step depends on."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None: ...


class Pace(Protocol):
    """The part of a plan that says how long, and what happens how often."""

    @property
    def steps(self) -> int: ...
    @property
    def evaluate_every(self) -> int: ...
    @property
    def save_every(self) -> int: ...
    @property
    def log_every(self) -> int: ...


def run_steps(learner: Learner, pace: Pace, *, run: Run | None = None, observe: Observer | None = None) -> list[Row]:
    """Take the plan's steps, from where `run` left off; returns a row for each, the first of them before any step."""
    started, log = time.monotonic(), []
    state = run.state() if run else None
    if run and state:
        tensors, facts = state
        learner.restore(tensors, facts)
        log = run.read_log(int(facts["step"]))
    else:
        log = [{"step": 0, **learner.measure(), "seconds": 0.0}]
        if observe:
            observe(log[0])
    first, earlier = int(log[-1]["step"]), log[-1]["seconds"]
    learner.begin(first)
    if run:
        run.write_log(log)
    for step in range(first, pace.steps):
        last = step + 1 == pace.steps
        row: Row = {"step": step + 1, **learner.step(step)}
        if last or (step + 1) % pace.evaluate_every == 0:
            row |= learner.measure()
        row["seconds"] = earlier + time.monotonic() - started
        log.append(row)
        if run:
            run.append_log(row)
            if last or (step + 1) % pace.save_every == 0:
                tensors, facts = learner.state()
                run.save(tensors, {**facts, "step": step + 1})
        if observe:
            observe(row)
        if (step + 1) % pace.log_every == 0:
            logger.info("%s", told(row, pace.steps))
    return log


def told(row: Mapping[str, float], steps: int) -> str:
    """One line for people: step, loss, terms, and what was measured on what was held out."""
    words = [f"step {row['step']:.0f} of {steps}"]
    if "loss" in row:
        words.append(f"loss {row['loss']:.3f}")
    for side in ("query", "document"):
        if f"{side}_terms" in row:
            words.append(f"{side} terms {row[f'{side}_terms']:.0f} (λ {row[f'{side}_lambda']:.1e})")
    measured = {name.removeprefix("ndcg_"): value for name, value in row.items() if name.startswith("ndcg_")}
    words += [f"nDCG@10 {head} {value:.3f}" for head, value in measured.items()]
    if "held_out_accuracy" in row:
        words.append(f"masked words right {row['held_out_accuracy']:.1%}, their loss {row['held_out_loss']:.3f}")
    return ", ".join(words)


class Run:
    """What a run leaves in its folder: plan, log and state.

    identity: what it was begun with, as JSON; it must be the same to go on
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._folder = folder
        self._identity = dict(identity)
        self._columns: list[str] = []

    def check(self, *, resume: bool) -> None:
        """Raises CheckpointError where the folder holds something that this run would spoil; writes nothing."""
        plan, state = self._folder / PLAN_FILE, self._folder / STATE_FILE
        if resume:
            # A state beside a model: the run was killed while it wrote the model, which is then written again.
            finished = (self._folder / "tercet.json").exists() and not state.exists()
            if finished or not plan.is_file():
                raise CheckpointError(f"{self._folder} holds no unfinished run; train without resume")
            before = json.loads(plan.read_text(encoding="utf-8"))
            if changed := [name for name in self._identity if before.get(name) != self._identity[name]]:
                raise CheckpointError(
                    f"the run in {self._folder} was begun with {' and '.join(changed)} of another kind"
                    f"{_difference(before, self._identity)}; resume it with the same, or train into another folder"
                )
        elif state.exists():
            raise CheckpointError(
                f"{self._folder} holds an unfinished run; resume it, or delete {STATE_FILE} there to start anew"
            )
        elif (self._folder / "tercet.json").exists():
            raise CheckpointError(f"{self._folder} holds a finished model; train into another folder")

    def begin(self) -> None:
        """Write down what is begun, or what goes on: then it is the same."""
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_text(self._folder / PLAN_FILE, json.dumps(self._identity, indent=1) + "\n")

    def state(self) -> State | None:
        path = self._folder / STATE_FILE
        return load_state(path) if path.is_file() else None

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        save_state(self._folder / STATE_FILE, tensors, facts)

    def read_log(self, last: int) -> list[Row]:
        """The rows up to step `last`."""
        with (self._folder / LOG_FILE).open(newline="", encoding="utf-8") as stream:
            rows = list(itertools.islice(csv.DictReader(stream), last + 1))
        numbers = [{name: float(value) for name, value in row.items() if value} for row in rows]
        return [row | {"step": int(row["step"])} for row in numbers]

    def write_log(self, rows: Sequence[Row]) -> None:
        """Begin the file with these rows; what a killed run wrote after its last state is computed again."""
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        self._write(rows)

    def append_log(self, row: Row) -> None:
        path = self._folder / LOG_FILE
        if new := [name for name in row if name not in self._columns]:
            # Columns appear with the first step; the few rows before are written again below the longer header.
            with path.open(newline="", encoding="utf-8") as stream:
                earlier: list[dict[str, Any]] = list(csv.DictReader(stream))
            self._columns += new
            self._write(earlier)
        with path.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, self._columns).writerow(row)

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(rows)
        replace_text(self._folder / LOG_FILE, text.getvalue())

    def finish(self) -> None:
        for path in (self._folder / STATE_FILE, (self._folder / STATE_FILE).with_suffix(UNFINISHED)):
            path.unlink(missing_ok=True)


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    old, new = before.get("plan", {}), now["plan"]
    changed = [f"{name} {old.get(name)!r} → {new[name]!r}" for name in new if old.get(name) != new[name]]
    return f" ({', '.join(changed)})" if changed else ""
