"""The trainer: a model, examples and a plan in, a checkpoint folder out, with its plan, its log and its card.

One trainer for all heads. What differs between SPLADE, ColBERT and the three heads is the plan's `heads`; what differs
between a frozen trunk and an unfrozen one is how deep the cached states lie.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tercet.checkpoint import Checkpoint
from tercet.errors import CheckpointError, InvalidTrainingData, TrainingCollapsed
from tercet.models.states import inverse_document_frequency
from tercet.training.data import Example, batch_stream, epoch_batches, split_held_out
from tercet.training.gradient_caching import Make, cached_backward
from tercet.training.held_out import HeldOut
from tercet.training.model import SideName, ThreeHeads, TokenBatch, Views, check_runtime
from tercet.training.objective import Candidates, Objective
from tercet.training.plan import Head, TrainingPlan
from tercet.training.pooling import InferenceFreeQueries
from tercet.training.resume import load_state, optimizer_tensors, restore_optimizer, save_state

logger = logging.getLogger(__name__)

PLAN_FILE, LOG_FILE, STATE_FILE = "training.json", "training.csv", "training.safetensors"

#: Texts from the data that the int8 ranges of the finished checkpoint are measured on.
CALIBRATION_TEXTS = 300
#: What the rarest word of an inference-free query weighs before training.
INFERENCE_FREE_WEIGHT = 4.0

Row = dict[str, float]
Observer = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a run did.

    before, after: nDCG@10 of each head on the held-out queries; empty where none were held out
    log: one row for each step: loss and its parts, terms and λ of both sides, and nDCG where it was measured
    """

    before: Mapping[Head, float]
    after: Mapping[Head, float]
    log: tuple[Mapping[str, float], ...]
    seconds: float


def train(
    model: str | Path,
    examples: Sequence[Example],
    out: str | Path,
    *,
    plan: TrainingPlan,
    name: str | None = None,
    resume: bool = False,
    observe: Observer | None = None,
) -> TrainingReport:
    """Train and write a checkpoint folder that `tercet.encoders.mini.MiniEncoder` opens.

    Beside the checkpoint lie training.json (the plan, and what it was used on), training.csv (the log) and, until the
    run has ended, training.safetensors (its state).

    model: "tercet-mini", a checkpoint folder, or a folder with a BERT of Hugging Face's form, whose heads are then new
    name: of the new model; None means the folder's
    resume: go on with what an interrupted run left in `out`; model, examples and plan must be the same
    observe: called with each row of the log

    Raises:
        CheckpointError: the model cannot be opened, or `out` holds another run or a finished model.
        InvalidTrainingData: the examples lack what the plan asks for.
        TrainingCollapsed: vectors died or went dense.
    """
    folder = Path(out)
    check_runtime(plan.pooling)
    trainer = Trainer(ThreeHeads.open(model), examples, plan)
    run = _Run(folder, {"model": str(model), "examples": _fingerprint(examples), "plan": json.loads(plan.to_json())})
    run.begin(resume=resume)
    report = trainer.fit(run=run, observe=observe)
    save_model(trainer, folder, report, name=name or folder.resolve().name, base=str(model))
    run.finish()
    return report


class Trainer:
    """Holds a model and the texts of a run; `fit` trains the model where it stands."""

    def __init__(self, model: ThreeHeads, examples: Sequence[Example], plan: TrainingPlan) -> None:
        _check_examples(examples, plan)
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.model = model
        self.training, held_out = split_held_out(examples, plan.held_out, seed=plan.seed)
        # Said here, where nothing has been computed yet.
        epoch_batches(self.training, plan.batch_size, epoch=0, seed=plan.seed)
        model.pooling = plan.pooling
        model.freeze(plan.unfrozen_layers)
        self.device = torch.device(_device(plan.device))
        model.to(self.device)
        if model.frozen_layers is None or model.frozen_layers < model.config.layers:
            if set(plan.heads) != {"dense", "sparse", "late"}:
                logger.warning(
                    "the trunk changes and only %s learns from it: the checkpoint's other heads will rank worse; "
                    "train all three to keep them",
                    " and ".join(plan.heads),
                )
        queries = sorted({example.query for example in self.training})
        documents = sorted({text for example in self.training for text in (example.positive, *example.negatives)})
        self._query_at = {text: position for position, text in enumerate(queries)}
        self._document_at = {text: position for position, text in enumerate(documents)}
        if not model.has_heads:
            sample = random.Random(plan.seed).sample(documents, len(documents))
            model.start_from(sample, max_tokens=plan.max_document_tokens)
            model.has_heads = True
        logger.info("%d examples, %d queries, %d documents", len(self.training), len(queries), len(documents))
        self._queries = model.read(queries, side="query", max_tokens=plan.max_query_tokens)
        self._documents = model.read(documents, side="document", max_tokens=plan.max_document_tokens)
        if plan.queries == "model":
            model.query_table = None
        elif model.query_table is None:
            rarity = inverse_document_frequency(self._documents, model.config.vocabulary_size)
            model.query_table = InferenceFreeQueries(INFERENCE_FREE_WEIGHT * rarity).to(self.device)
        self.held_out = None
        if held_out:
            self.held_out = HeldOut(
                model,
                held_out,
                self.training,
                distractors=plan.distractors,
                max_query_tokens=plan.max_query_tokens,
                max_document_tokens=plan.max_document_tokens,
                seed=plan.seed,
            )
        self._answers = _answers(self.training)
        self.objective = Objective(plan, model.config.vocabulary_size)
        self.parameters = _parameter_groups(model, plan)
        self.optimizer = torch.optim.AdamW(
            [{"params": list(group.values()), "lr": rate} for group, rate in self.parameters], weight_decay=0.0
        )
        self._rates = [rate for _, rate in self.parameters]

    def fit(self, *, run: _Run | None = None, observe: Observer | None = None) -> TrainingReport:
        """Train for the plan's steps, from where `run` left off.

        Raises:
            TrainingCollapsed: the loss is no number, or vectors died or went dense.
        """
        plan, started = self.plan, time.monotonic()
        log: list[Row] = []
        state = run.state() if run else None
        if state:
            log = run.read_log(self._restore(*state)) if run else []
        else:
            log.append({"step": 0, **self._ndcg(), "seconds": 0.0})
            if observe:
                observe(log[0])
        first, earlier = int(log[-1]["step"]), log[-1]["seconds"]
        stream = batch_stream(
            self.training,
            plan.batch_size,
            seed=plan.seed,
            one_source_share=plan.one_source_share,
            start=first * plan.accumulate,
        )
        if run:
            run.write_log(log)
        for step in range(first, plan.steps):
            row: Row = {"step": step + 1, **self._step(step, stream)}
            if (step + 1) % plan.evaluate_every == 0 or step + 1 == plan.steps:
                row |= self._ndcg()
            row["seconds"] = earlier + time.monotonic() - started
            log.append(row)
            if run:
                run.append_log(row)
                if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
                    run.save(*self._state(step + 1))
            if observe:
                observe(row)
            if (step + 1) % plan.log_every == 0:
                logger.info("%s", told(row, plan.steps))
        return TrainingReport(_ndcg_of(log[0]), _ndcg_of(log[-1]), tuple(log), log[-1]["seconds"])

    # --- one step ---

    def _step(self, step: int, stream: Iterator[list[int]]) -> Row:
        plan = self.plan
        share = _learning_rate_share(step, plan.steps)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        self.optimizer.zero_grad()
        totals: dict[str, float] = defaultdict(float)
        for part in range(plan.accumulate):
            examples = [self.training[position] for position in next(stream)]
            for name, value in self._gradients(examples, step, part).items():
                totals[name] += value / plan.accumulate
        norm = nn.utils.clip_grad_norm_([p for group, _ in self.parameters for p in group.values()], 1.0)
        if not math.isfinite(totals["loss"]) or not torch.isfinite(norm):
            raise TrainingCollapsed(
                f"step {step + 1}: the loss is {totals['loss']}, its gradient's length {norm.item()}; lower "
                f"learning_rate{' or trunk_learning_rate' if plan.unfrozen_layers else ''}, or use precision='f32'"
            )
        self.optimizer.step()
        return dict(totals) | {"learning_rate": plan.learning_rate * share}

    def _gradients(self, examples: Sequence[Example], step: int, part: int) -> Row:
        """Add the gradients of one batch; returns the loss, its parts, terms and λ."""
        plan = self.plan
        # A function of the step alone, so that a resumed run draws the same negatives.
        rng = random.Random(f"negatives {plan.seed} {step} {part}")
        chosen = [rng.sample(range(len(example.negatives)), plan.negatives) for example in examples]
        candidates = Candidates.of(examples, chosen, self._answers, device=self.device)
        documents = [example.positive for example in examples]
        documents += [
            example.negatives[position]
            for example, positions in zip(examples, chosen, strict=True)
            for position in positions
        ]
        query_texts = [self._query_at[example.query] for example in examples]
        document_texts = [self._document_at[text] for text in documents]
        makers = self._views("query", query_texts), self._views("document", document_texts)
        row: Row = {}

        def loss_of(queries: Views, answers: Views) -> Tensor:
            loss, parts = self.objective.loss(queries, answers, candidates, step=step)
            row.update(loss=float(loss.detach()), **parts)
            return loss / plan.accumulate

        if plan.chunk_size is None:
            queries, answers = (Views.joined([make() for make in side]) for side in makers)
            torch.autograd.backward(loss_of(queries, answers))
        else:
            queries, answers = cached_backward(*makers, loss_of)
        return row | self.objective.after_step(queries, answers, step=step)

    def _views(self, side: SideName, texts: Sequence[int]) -> list[Make]:
        """How to make the views of these texts, in chunks; each call computes them anew."""
        read = self._queries if side == "query" else self._documents
        size = self.plan.chunk_size or len(texts)
        heads = self.objective.needed

        def make(batch: TokenBatch) -> Views:
            with self._precision():
                views: Views = self.model(batch, side=side, heads=heads)
            return views

        chunks = [texts[start : start + size] for start in range(0, len(texts), size)]
        return [lambda chunk=chunk: make(self.model.batch(read, chunk)) for chunk in chunks]  # type: ignore[misc]

    def _precision(self) -> AbstractContextManager[Any]:
        wanted = self.plan.precision
        bf16 = wanted == "bf16" or (
            wanted == "auto" and self.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        )
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if bf16 else nullcontext()

    def _ndcg(self) -> Row:
        if self.held_out is None:
            return {}
        return {f"ndcg_{head}": value for head, value in self.held_out.ndcg(("dense", "sparse", "late")).items()}

    # --- the state of a run ---

    def _state(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"model.{name}": tensor for name, tensor in self._trained().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self.optimizer).items()}
        objective = self.objective
        facts: dict[str, Any] = {
            "step": step,
            "lambdas": {side: controller.state() for side, controller in objective.lambdas.items()},
            "guards": {side: [guard.dead_for, guard.dense_for] for side, guard in objective.guards.items()},
            "shares": {},
        }
        for side, share in objective.shares.items():
            tensors[f"share.{side}"], facts["shares"][side] = share.state()
        return tensors, facts

    def _restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> int:
        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

        stored = part("model.")
        with torch.no_grad():
            for name, tensor in self._trained().items():
                tensor.copy_(stored[name])
        restore_optimizer(self.optimizer, part("optimizer."))
        objective = self.objective
        for side in objective.lambdas:
            objective.lambdas[side] = type(objective.lambdas[side]).restored(facts["lambdas"][side])
            objective.guards[side].dead_for, objective.guards[side].dense_for = facts["guards"][side]
            objective.shares[side].restore(tensors[f"share.{side}"], facts["shares"][side])
        return int(facts["step"])

    def _trained(self) -> dict[str, Tensor]:
        return {name: parameter for group, _ in self.parameters for name, parameter in group.items()}


def _parameter_groups(model: ThreeHeads, plan: TrainingPlan) -> list[tuple[dict[str, nn.Parameter], float]]:
    """What learns, by name, and how fast.

    The decoder learns slower, for its rows are many and rarely seen; the bonus faster, for it is one number a word.
    """
    rate = plan.learning_rate
    groups: list[tuple[dict[str, nn.Parameter], float]] = []
    if "sparse" in plan.heads:
        sparse = {f"sparse.{name}": parameter for name, parameter in model.sparse.named_parameters()}
        decoder = {name: sparse.pop(name) for name in ("sparse.decoder", "sparse.bias")}
        bonus = {name: sparse.pop(name) for name in [name for name in sparse if "bonus" in name]}
        groups += [(sparse, rate), (decoder, 0.5 * rate), (bonus, 5 * rate)]
        if model.query_table is not None:
            groups.append(({"query_table.table": model.query_table.table}, 5 * rate))
    if "late" in plan.heads:
        groups.append(({f"late.{name}": parameter for name, parameter in model.late.named_parameters()}, rate))
    trunk = {f"trunk.{name}": p for name, p in model.trunk.named_parameters() if p.requires_grad}
    return [*groups, (trunk, plan.trunk_learning_rate)] if trunk else groups


def _learning_rate_share(step: int, steps: int) -> float:
    """Up over a twentieth of the steps, at most a hundred, then down in a line to a fiftieth."""
    warm_up = min(100, max(1, steps // 20))
    return min(1.0, (step + 1) / warm_up) * max(0.02, 1 - step / steps)


def _check_examples(examples: Sequence[Example], plan: TrainingPlan) -> None:
    """What `read_examples` has said with file and line, for those who come with examples of their own."""
    for number, example in enumerate(examples, start=1):
        if not example.query.strip() or not example.positive.strip() or not all(map(str.strip, example.negatives)):
            raise InvalidTrainingData(f"example {number} has an empty query, positive or negative")
        if example.positive in example.negatives:
            raise InvalidTrainingData(f"example {number}: its positive is one of its negatives; leave it out there")
        if len(example.negatives) < plan.negatives:
            raise InvalidTrainingData(
                f"example {number} has {len(example.negatives)} negatives, the plan asks for {plan.negatives}; "
                f"mine more, or ask for fewer"
            )
        if (plan.needs_scores and not example.scores) or len(example.scores) not in (0, 1 + len(example.negatives)):
            raise InvalidTrainingData(
                f"example {number} has {len(example.scores)} scores, expected {1 + len(example.negatives)}: the "
                f"positive's, then each negative's"
            )


def _answers(examples: Sequence[Example]) -> dict[str, frozenset[str]]:
    """Every positive of each query."""
    answers: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        answers[example.query].add(example.positive)
    return {query: frozenset(texts) for query, texts in answers.items()}


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def _fingerprint(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.to_json().encode() + b"\n")
    return digest.hexdigest()


def _ndcg_of(row: Mapping[str, float]) -> dict[Head, float]:
    heads: tuple[Head, ...] = ("dense", "sparse", "late")
    return {head: row[f"ndcg_{head}"] for head in heads if f"ndcg_{head}" in row}


def told(row: Mapping[str, float], steps: int) -> str:
    """One line for people: step, loss, terms, nDCG."""
    words = [f"step {row['step']:.0f} of {steps}"]
    if "loss" in row:
        words.append(f"loss {row['loss']:.3f}")
    for side in ("query", "document"):
        if f"{side}_terms" in row:
            words.append(f"{side} terms {row[f'{side}_terms']:.0f} (λ {row[f'{side}_lambda']:.1e})")
    words += [f"nDCG@10 {head} {value:.3f}" for head, value in _ndcg_of(row).items()]
    return ", ".join(words)


class _Run:
    """What a run leaves in its folder: plan, log and state."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._folder = folder
        self._identity = dict(identity)
        self._columns: list[str] = []

    def begin(self, *, resume: bool) -> None:
        """Raises CheckpointError where the folder holds something that this run would spoil."""
        plan, state = self._folder / PLAN_FILE, self._folder / STATE_FILE
        if resume:
            if not plan.is_file() or (self._folder / "tercet.json").exists():
                raise CheckpointError(f"{self._folder} holds no unfinished run; train without resume")
            before = json.loads(plan.read_text(encoding="utf-8"))
            if changed := [name for name in self._identity if before.get(name) != self._identity[name]]:
                raise CheckpointError(
                    f"the run in {self._folder} was begun with {' and '.join(changed)} of another kind"
                    f"{_difference(before, self._identity)}; resume it with the same, or train into another folder"
                )
            return
        if state.exists():
            raise CheckpointError(
                f"{self._folder} holds an unfinished run; resume it, or delete {STATE_FILE} there to start anew"
            )
        if (self._folder / "tercet.json").exists():
            raise CheckpointError(f"{self._folder} holds a finished model; train into another folder")
        self._folder.mkdir(parents=True, exist_ok=True)
        plan.write_text(json.dumps(self._identity, indent=1) + "\n", encoding="utf-8")

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        path = self._folder / STATE_FILE
        return load_state(path) if path.is_file() else None

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        save_state(self._folder / STATE_FILE, tensors, facts)

    def read_log(self, last: int) -> list[Row]:
        """The rows up to step `last`."""
        with (self._folder / LOG_FILE).open(newline="", encoding="utf-8") as stream:
            rows = list(itertools.islice(csv.DictReader(stream), last + 1))
        return [{name: float(value) for name, value in row.items() if value} for row in rows]

    def write_log(self, rows: Sequence[Row]) -> None:
        """Begin the file with these rows; what a killed run wrote after its last state is computed again."""
        self._columns = []
        (self._folder / LOG_FILE).write_text("", encoding="utf-8")
        for row in rows:
            self.append_log(row)

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
        with (self._folder / LOG_FILE).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self._columns)
            writer.writeheader()
            writer.writerows(rows)

    def finish(self) -> None:
        (self._folder / STATE_FILE).unlink(missing_ok=True)


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    old, new = before.get("plan", {}), now["plan"]
    changed = [f"{name} {old.get(name)!r} → {new[name]!r}" for name in new if old.get(name) != new[name]]
    return f" ({', '.join(changed)})" if changed else ""


def save_model(trainer: Trainer, folder: Path, report: TrainingReport, *, name: str, base: str) -> Checkpoint:
    """Write the checkpoint that the trainer's model has become, with a card that says how."""
    plan = trainer.plan
    texts = sorted({text for example in trainer.training for text in (example.query, example.positive)})
    sample = random.Random(plan.seed).sample(texts, min(CALIBRATION_TEXTS, len(texts)))
    trained: list[Head] = list(plan.heads)
    card = _card(report, plan, name=name, base=base, examples=len(trainer.training))
    return trainer.model.save(folder, name=name, trained=trained, calibration=sample, card=card)


def _card(report: TrainingReport, plan: TrainingPlan, *, name: str, base: str, examples: int) -> str:
    lines = [
        f"# {name}\n",
        f"Trained from {base} with tercet on {examples:,} examples: {' and '.join(plan.heads)}, {plan.steps:,} steps "
        f"of {plan.batch_size * plan.accumulate} queries. The plan stands in {PLAN_FILE}, the log in {LOG_FILE}.\n",
    ]
    if report.after:
        lines += [f"nDCG@10 on {plan.held_out} held-out queries:\n", "| head | before | after |", "|---|---|---|"]
        lines += [f"| {head} | {report.before[head]:.3f} | {report.after[head]:.3f} |" for head in report.after]
    return "\n".join(lines) + "\n"
