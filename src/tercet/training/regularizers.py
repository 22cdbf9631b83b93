"""What keeps sparse vectors sparse: a batch's vectors in, a penalty out; their number of terms in, its weight out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tercet.errors import TrainingCollapsed

SideName = Literal["query", "document"]


def flops(vectors: Tensor) -> Tensor:
    """Σ over terms of (mean weight)²: the multiplications that one dot product costs on average (Paria et al., 2020).

    Punishes what is common more than what is long: a term that every text has costs n times what n rare ones cost.

    vectors: (batch, vocabulary), non-negative
    """
    return vectors.mean(dim=0).square().sum()


def l1(vectors: Tensor) -> Tensor:
    """Mean over texts of the sum of weights: each vector is short by itself, whatever the others hold.

    For queries, whose length is what a search pays for (Lassance and Clinchant, 2022).

    vectors: (batch, vocabulary), non-negative
    """
    return vectors.sum(dim=1).mean()


def df_flops(vectors: Tensor, document_share: Tensor, *, alpha: float = 0.1, beta: float = 10.0) -> Tensor:
    """FLOPS that leaves rare terms alone: Σ (a(share) · mean weight)² with a(x) = 1 / (1 + (x^log_α 2 − 1)^β).

    a is 0 for a term of no document, ½ at a share of α, 1 for one of all documents: only what makes postings long is
    punished (Porco et al., 2025).

    vectors: (batch, vocabulary), non-negative
    document_share: (vocabulary,) in [0, 1], the part of the documents that hold the term (see `DocumentShare`)
    """
    return (frequency_weight(document_share, alpha=alpha, beta=beta) * vectors.mean(dim=0)).square().sum()


def frequency_weight(document_share: Tensor, *, alpha: float, beta: float) -> Tensor:
    """The a(x) of `df_flops`, (vocabulary,) in [0, 1]."""
    # 0 to a negative power is infinite, and 1 / (1 + ∞) the 0 that is meant.
    raised = document_share.clamp(min=0, max=1) ** math.log(2, alpha)
    return 1 / (1 + (raised - 1).clamp(min=0) ** beta)


class DocumentShare:
    """A running estimate of the part of all documents that hold each term, from the batches that come by."""

    def __init__(self, vocabulary_size: int, *, memory: float = 0.99) -> None:
        self._sum = torch.zeros(vocabulary_size)
        self._weight = 0.0
        self._memory = memory

    def update(self, vectors: Tensor) -> Tensor:
        """Take in a batch, (batch, vocabulary), and return the estimate, (vocabulary,)."""
        seen = (vectors.detach() > 0).float().mean(dim=0)
        self._sum = self._memory * self._sum.to(seen.device) + (1 - self._memory) * seen
        self._weight = self._memory * self._weight + (1 - self._memory)
        # Divided by the weight that has come in, so that the first batches do not look like rare terms.
        return self._sum / self._weight

    def state(self) -> tuple[Tensor, float]:
        return self._sum, self._weight

    def restore(self, sums: Tensor, weight: float) -> None:
        self._sum, self._weight = sums, weight


def quadratic_warm_up(step: int, steps: int) -> float:
    """(step / steps)² up to 1: the head learns to rank before it has to be short (Formal et al., 2021)."""
    return 1.0 if step >= steps else (step / steps) * (step / steps)


def mean_terms(vectors: Tensor) -> float:
    """How many terms a vector has on average."""
    return float((vectors > 0).sum(dim=1).float().mean())


@dataclass(slots=True, kw_only=True)
class LambdaController:
    """The weight λ of one side's regularizer, steered so that its vectors keep `target` terms on average.

    A λ from a paper fits that paper's data, loss and learning rate; elsewhere it kills the vectors or leaves them
    dense. So the number of terms is the setting and λ follows: each step multiplies it by (terms / target)^rate, where
    the ratio is held within [½, 2]. An overshoot so raises λ until it is gone, and λ then stays where it is. `damping`
    answers the present error beside the sum of past ones, which keeps the two from swinging around each other.

    target: None keeps λ as it is
    """

    target: int | None
    value: float = 1e-4
    rate: float = 0.05
    damping: float = 0.0
    least: float = 1e-5
    most: float = 1.0
    terms: float | None = None  # of the last update

    def update(self, terms: float) -> float:
        """Take in a step's mean number of terms and return λ for the next step."""
        self.terms = terms
        if self.target is not None:
            self.value = min(self.most, max(self.least, self.value * math.pow(self._ratio(terms), self.rate)))
        return self.weight

    @property
    def weight(self) -> float:
        """λ with its damping."""
        if self.target is None or self.terms is None:
            return self.value
        return min(self.most, self.value * math.pow(self._ratio(self.terms), self.damping))

    def _ratio(self, terms: float) -> float:
        return min(2.0, max(0.5, terms / self.target)) if self.target else 1.0

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> LambdaController:
        return cls(**state)


@dataclass(slots=True, kw_only=True)
class CollapseGuard:
    """Stops a run whose vectors of one side died or went dense, before it burns the night.

    patience: steps in a row that must be bad
    grace: steps at the start that are not judged: an untrained head may well be dense
    most_terms: above it a vector is no longer worth an inverted index
    """

    side: SideName
    most_terms: float
    patience: int = 50
    grace: int = 0
    least_terms: float = 1.0
    dead_for: int = 0
    dense_for: int = 0

    def check(self, vectors: Tensor, step: int, *, weight: float) -> None:
        """Judge one batch's vectors, (batch, vocabulary).

        weight: the λ in force, for the message

        Raises:
            TrainingCollapsed: for `patience` steps the vectors had less than one term or more than `most_terms`.
        """
        terms = mean_terms(vectors)
        self.dead_for = self.dead_for + 1 if terms < self.least_terms else 0
        self.dense_for = self.dense_for + 1 if terms > self.most_terms and step >= self.grace else 0
        if self.dead_for >= self.patience:
            empty = int((vectors == 0).all(dim=1).sum())
            raise TrainingCollapsed(
                f"the {self.side} vectors died: {terms:.1f} terms on average for {self.dead_for} steps up to step "
                f"{step}, {empty} of {len(vectors)} in the last batch have none; λ is {weight:.2g}. Raise "
                f"target_{self.side}_terms or lower {self.side}_lambda, lower learning_rate, or lengthen warm_up_steps"
            )
        if self.dense_for >= self.patience:
            raise TrainingCollapsed(
                f"the {self.side} vectors went dense: {terms:,.0f} terms on average for {self.dense_for} steps up to "
                f"step {step}, at most {self.most_terms:,.0f} are allowed; λ is {weight:.2g}. Lower "
                f"target_{self.side}_terms or raise {self.side}_lambda, raise lambda_rate, or lower learning_rate"
            )
