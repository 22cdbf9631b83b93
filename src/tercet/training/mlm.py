"""Continued training on masked words: a model and plain texts in, a sparse head that knows what a context suggests out.

SPLADE ranks because its head began as a masked language model's (Formal et al., 2021): what could stand at a word's
place is what the word may be expanded with. So before a sparse head learns to rank, it learns to guess.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tercet.errors import InvalidTrainingData
from tercet.models.heads import SparseHead
from tercet.models.load import NEVER
from tercet.training.masking import MaskedBatch, Masking, Piece, piece_stream
from tercet.training.mlm_plan import MlmPlan
from tercet.training.model import ThreeHeads
from tercet.training.optimizing import Optimizer, autocast, choose_device, parameter_groups
from tercet.training.run import LOG_FILE, PLAN_FILE, Observer, Row, Run, State, run_steps

logger = logging.getLogger(__name__)

#: Texts that the int8 ranges of the finished checkpoint are measured on.
CALIBRATION_TEXTS = 300
#: Texts are held out up to this part of all.
MOST_HELD_OUT = 10


@dataclass(frozen=True, slots=True)
class MlmReport:
    """What a run did.

    before, after: the part of the held-out masked tokens that the head's first guess is right about
    log: one row for each step: loss and accuracy, and on held-out texts where it was measured
    """

    before: float
    after: float
    log: tuple[Mapping[str, float], ...]
    seconds: float


def train_mlm(model: ThreeHeads, texts: Sequence[str], plan: MlmPlan, *, observe: Observer | None = None) -> MlmReport:
    """Teach the model's sparse head, where it stands, to guess hidden words of these texts.

    Raises:
        InvalidTrainingData: a text is empty, or there are fewer texts than a batch takes.
        TrainingCollapsed: the loss is no number.
    """
    return MlmTrainer(model, texts, plan).fit(observe=observe)


def train_mlm_into(
    model: str | Path,
    texts: Sequence[str],
    out: str | Path,
    *,
    plan: MlmPlan,
    name: str | None = None,
    resume: bool = False,
    observe: Observer | None = None,
) -> MlmReport:
    """The same from a folder into a folder; arguments, files and `resume` as in `tercet.training.trainer.train`.

    Raises:
        CheckpointError: the model cannot be opened, or `out` holds another run or a finished model.
        InvalidTrainingData, TrainingCollapsed: as `train_mlm`.
    """
    folder = Path(out)
    run = Run(folder, {"model": str(model), "texts": _fingerprint(texts), "plan": json.loads(plan.to_json())})
    # Before token states are computed, which may take long.
    run.check(resume=resume)
    trainer = MlmTrainer(ThreeHeads.open(model), texts, plan)
    run.begin()
    report = trainer.fit(run=run, observe=observe)
    name = name or folder.resolve().name
    sample = random.Random(plan.seed).sample(trainer.texts, min(CALIBRATION_TEXTS, len(trainer.texts)))
    card = _card(report, plan, name=name, base=str(model), texts=len(trainer.texts))
    trainer.model.save(folder, name=name, trained=["sparse"], calibration=sample, card=card)
    run.finish()
    return report


def masked_word_loss(
    head: SparseHead, states: Tensor, token_ids: Tensor, lengths: Sequence[int], asked: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy over the vocabulary, and how many first guesses are right.

    Only the asked tokens get logits: (n_asked, vocabulary) instead of seven times as many. The lexical bonus is left
    out: it belongs to the word that stands at a place, which is what is to be guessed.

    states: (n_tokens of all texts, hidden) without special tokens, token_ids: (n_tokens,), hidden words as [MASK]
    asked: (n_tokens,) True at chosen tokens; targets: (n_asked,) the ids that stood there
    """
    projected, _ = head.token_terms(states, token_ids, lengths)
    logits = (projected[asked] @ head.decoder.T + head.bias).float()
    return F.cross_entropy(logits, targets), (logits.argmax(dim=-1) == targets).sum()


class MlmTrainer:
    """Holds a model and the texts of a run; `fit` trains the model where it stands.

    The trunk reads each batch anew, even where it is frozen: what it makes of a text depends on which words are hidden.
    """

    def __init__(self, model: ThreeHeads, texts: Sequence[str], plan: MlmPlan) -> None:
        for number, text in enumerate(texts, start=1):
            if not text.strip():
                raise InvalidTrainingData(f"text {number} is empty; leave it out")
        torch.manual_seed(plan.seed)
        self.plan, self.model = plan, model
        model.freeze(plan.unfrozen_layers)
        self.device = choose_device(plan.device)
        model.to(self.device)
        order = list(texts)
        random.Random(f"held out {plan.seed}").shuffle(order)
        held_out = min(plan.held_out, len(order) // MOST_HELD_OUT)
        self.texts = order[held_out:]
        if not model.has_heads:
            model.start_from(self.texts, max_tokens=plan.max_tokens)
            model.has_heads = True
        expressible = (model.sparse.bias.detach() > NEVER / 2).cpu().numpy()
        masking = Masking(model.tokenizer, expressible, share=plan.mask_share)
        limit = min(plan.max_tokens, model.config.max_positions)
        self._pieces = masking.cut(model.tokenizer, self.texts, max_tokens=limit)
        if len(self._pieces) < plan.batch_size:
            raise InvalidTrainingData(
                f"the texts give {len(self._pieces)} pieces with words of the model's vocabulary, a batch takes "
                f"{plan.batch_size}; lower batch_size"
            )
        if plan.unfrozen_layers:
            logger.warning("the trunk changes: train all three heads afterwards, or dense and late will rank worse")
        self._masking = masking
        self._held_out = self._masked_once(masking.cut(model.tokenizer, order[:held_out], max_tokens=limit))
        groups = parameter_groups(
            model, ("sparse",), rate=plan.learning_rate, trunk_rate=plan.trunk_learning_rate, masked_words=True
        )
        self.optimizer = Optimizer(groups, steps=plan.steps)
        self._batches: Iterator[list[Piece]] = iter(())

    def _masked_once(self, pieces: Sequence[Piece]) -> list[MaskedBatch]:
        """Held-out pieces, whose hidden words stay the same, so that figures can be compared."""
        rng = np.random.default_rng(self.plan.seed)
        ordered = sorted(pieces, key=len)
        size = self.plan.batch_size
        return [self._masking.batch(ordered[at : at + size], rng) for at in range(0, len(ordered), size)]

    def fit(self, *, run: Run | None = None, observe: Observer | None = None) -> MlmReport:
        """Train for the plan's steps, from where `run` left off.

        Raises:
            TrainingCollapsed: the loss is no number.
        """
        log = run_steps(self, self.plan, run=run, observe=observe)
        before, after = (row.get("held_out_accuracy", 0.0) for row in (log[0], log[-1]))
        return MlmReport(before, after, tuple(log), log[-1]["seconds"])

    # --- implements tercet.training.run.Learner ---

    def begin(self, step: int) -> None:
        plan = self.plan
        start = step * plan.accumulate
        self._batches = piece_stream(self._pieces, plan.batch_size, seed=plan.seed, start=start)

    def step(self, step: int) -> Row:
        plan, row = self.plan, {"loss": 0.0, "accuracy": 0.0}
        self.optimizer.begin(step)
        for part in range(plan.accumulate):
            # A function of the step alone, so that a resumed run hides the same words.
            rng = np.random.default_rng([plan.seed, step, part])
            batch = self._masking.batch(next(self._batches), rng).to(self.device)
            loss, right = self._loss(batch)
            torch.autograd.backward(loss / plan.accumulate)
            row["loss"] += float(loss.detach()) / plan.accumulate
            row["accuracy"] += float(right) / len(batch.targets) / plan.accumulate
        self.optimizer.finish(step, row["loss"])
        return row | {"learning_rate": plan.learning_rate * self.optimizer.share(step)}

    def _loss(self, batch: MaskedBatch) -> tuple[Tensor, Tensor]:
        with autocast(self.plan.precision, self.device):
            states = self.model.token_states(batch.token_ids, batch.mask)
            inner = batch.inner
            return masked_word_loss(
                self.model.sparse,
                states[inner],
                batch.token_ids[inner],
                inner.sum(dim=1).tolist(),
                batch.asked[inner],
                batch.targets,
            )

    @torch.inference_mode()
    def measure(self) -> Row:
        if not self._held_out:
            return {}
        loss = right = asked = 0.0
        for batch in self._held_out:
            mean, hits = self._loss(batch.to(self.device))
            loss += float(mean) * len(batch.targets)
            right += float(hits)
            asked += len(batch.targets)
        return {"held_out_loss": loss / asked, "held_out_accuracy": right / asked}

    def state(self) -> State:
        return self.optimizer.state(), {}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.optimizer.restore(tensors)


def _fingerprint(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _card(report: MlmReport, plan: MlmPlan, *, name: str, base: str, texts: int) -> str:
    return (
        f"# {name}\n\n"
        f"The sparse head of {base}, trained with tercet to guess hidden words of {texts:,} texts: {plan.steps:,} "
        f"steps of {plan.batch_size * plan.accumulate} pieces. Masked words of held-out texts guessed right: "
        f"{report.before:.1%} before, {report.after:.1%} after. The plan stands in {PLAN_FILE}, the log in "
        f"{LOG_FILE}.\n\n"
        f"A start for `tercet train splade` or `heads`: this head has not learnt to rank.\n"
    )
