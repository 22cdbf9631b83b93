"""The trainer: a model, examples and a plan in, a checkpoint folder out, with its plan, its log and its card.

One trainer for all heads. What differs between SPLADE, ColBERT and the three heads is the plan's `heads`; what differs
between a frozen trunk and an unfrozen one is how deep the cached states lie.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tercet.checkpoint import Checkpoint
from tercet.errors import InvalidTrainingData
from tercet.models.states import inverse_document_frequency
from tercet.training.data import Example, batch_stream, epoch_batches, split_held_out
from tercet.training.gradient_caching import Make, cached_backward
from tercet.training.held_out import HeldOut
from tercet.training.model import SideName, ThreeHeads, TokenBatch, Views
from tercet.training.objective import Candidates, Objective
from tercet.training.optimizing import Optimizer, autocast, choose_device, parameter_groups
from tercet.training.plan import Head, TrainingPlan
from tercet.training.pooling import InferenceFreeQueries
from tercet.training.run import LOG_FILE, PLAN_FILE, Observer, Row, Run, State, run_steps

logger = logging.getLogger(__name__)

#: Texts from the data that the int8 ranges of the finished checkpoint are measured on.
CALIBRATION_TEXTS = 300
#: What the rarest word of an inference-free query weighs before training.
INFERENCE_FREE_WEIGHT = 4.0


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
    run = Run(folder, {"model": str(model), "examples": _fingerprint(examples), "plan": json.loads(plan.to_json())})
    # Before token states are computed, which may take long.
    run.check(resume=resume)
    trainer = Trainer(ThreeHeads.open(model), examples, plan)
    run.begin()
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
        _read_as_colbert(model, plan)
        model.pooling = plan.pooling
        model.freeze(plan.unfrozen_layers)
        self.device = choose_device(plan.device)
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
        groups = parameter_groups(model, plan.heads, rate=plan.learning_rate, trunk_rate=plan.trunk_learning_rate)
        self.optimizer = Optimizer(groups, steps=plan.steps)
        self._batches: Iterator[list[int]] = iter(())

    def fit(self, *, run: Run | None = None, observe: Observer | None = None) -> TrainingReport:
        """Train for the plan's steps, from where `run` left off.

        Raises:
            TrainingCollapsed: the loss is no number, or vectors died or went dense.
        """
        log = run_steps(self, self.plan, run=run, observe=observe)
        return TrainingReport(_ndcg_of(log[0]), _ndcg_of(log[-1]), tuple(log), log[-1]["seconds"])

    # --- one step: implements tercet.training.run.Learner ---

    def begin(self, step: int) -> None:
        plan = self.plan
        start, share = step * plan.accumulate, plan.one_source_share
        self._batches = batch_stream(
            self.training, plan.batch_size, seed=plan.seed, one_source_share=share, start=start
        )

    def step(self, step: int) -> Row:
        plan = self.plan
        self.optimizer.begin(step)
        totals: dict[str, float] = defaultdict(float)
        for part in range(plan.accumulate):
            examples = [self.training[position] for position in next(self._batches)]
            for name, value in self._gradients(examples, step, part).items():
                totals[name] += value / plan.accumulate
        self.optimizer.finish(step, totals["loss"])
        return dict(totals) | {"learning_rate": plan.learning_rate * self.optimizer.share(step)}

    def measure(self) -> Row:
        if self.held_out is None:
            return {}
        return {f"ndcg_{head}": value for head, value in self.held_out.ndcg(("dense", "sparse", "late")).items()}

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
            with autocast(self.plan.precision, self.device):
                views: Views = self.model(batch, side=side, heads=heads)
            return views

        chunks = [texts[start : start + size] for start in range(0, len(texts), size)]
        return [lambda chunk=chunk: make(self.model.batch(read, chunk)) for chunk in chunks]  # type: ignore[misc]

    # --- the state of a run ---

    def state(self) -> State:
        tensors, objective = self.optimizer.state(), self.objective
        facts: dict[str, Any] = {
            "lambdas": {side: controller.state() for side, controller in objective.lambdas.items()},
            "guards": {side: [guard.dead_for, guard.dense_for] for side, guard in objective.guards.items()},
            "shares": {},
        }
        for side, share in objective.shares.items():
            tensors[f"share.{side}"], facts["shares"][side] = share.state()
        return tensors, facts

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.optimizer.restore(tensors)
        objective = self.objective
        for side in objective.lambdas:
            objective.lambdas[side] = type(objective.lambdas[side]).restored(facts["lambdas"][side])
            objective.guards[side].dead_for, objective.guards[side].dense_for = facts["guards"][side]
            objective.shares[side].restore(tensors[f"share.{side}"], facts["shares"][side])


def _read_as_colbert(model: ThreeHeads, plan: TrainingPlan) -> None:
    marked = model.config.query_marker or model.config.document_marker
    loaded = model.loaded
    there = set(loaded.config.heads) if loaded.sparse or loaded.late else set()
    if plan.markers and not marked and (left := sorted(there - set(plan.heads))):
        raise ValueError(
            f"markers change what every head of {model.config.name!r} reads, and {' and '.join(left)} would not learn "
            f"with them; train all its heads (with unfrozen_layers), or begin with a BERT"
        )
    model.read_as_colbert(
        markers=plan.markers and not marked, augmentation=plan.query_augmentation, late_dim=plan.late_dim
    )


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


def _fingerprint(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.to_json().encode() + b"\n")
    return digest.hexdigest()


def _ndcg_of(row: Mapping[str, float]) -> dict[Head, float]:
    heads: tuple[Head, ...] = ("dense", "sparse", "late")
    return {head: row[f"ndcg_{head}"] for head in heads if f"ndcg_{head}" in row}


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
