"""What a step minimises: the heads' views of a batch in, one loss and its parts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tercet.training.data import Example
from tercet.training.losses import info_nce, kl_divergence, margin_mse, margin_ranking
from tercet.training.model import Views
from tercet.training.plan import Head, TrainingPlan
from tercet.training.regularizers import (
    CollapseGuard,
    DocumentShare,
    LambdaController,
    SideName,
    df_flops,
    flops,
    l1,
    mean_terms,
    quadratic_warm_up,
)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Which documents a batch holds, and what is known of them.

    mask: (batch, n_docs), False at documents that answer the query, too, and so are no negatives
    own: (batch, 1 + n_negatives) columns of each query's positive and its own negatives
    teacher: (batch, 1 + n_negatives) scores that came with the data; None where there are none
    """

    mask: Tensor
    own: Tensor
    teacher: Tensor | None

    @classmethod
    def of(
        cls,
        examples: Sequence[Example],
        negatives: Sequence[Sequence[int]],
        answers: Mapping[str, frozenset[str]],
        *,
        device: torch.device,
    ) -> Candidates:
        """Columns: all positives in order, then query 0's negatives, then query 1's.

        negatives: for each example, which of its negatives take part
        answers: every positive of a query, over all examples
        """
        count = len(negatives[0])
        documents = [example.positive for example in examples]
        documents += [
            example.negatives[position]
            for example, chosen in zip(examples, negatives, strict=True)
            for position in chosen
        ]
        own = torch.tensor(
            [
                [row, *range(len(examples) + row * count, len(examples) + (row + 1) * count)]
                for row in range(len(examples))
            ]
        )
        # The same document may be the positive of two queries of a batch, and a query may have several positives.
        mask = torch.tensor([[text not in answers[example.query] for text in documents] for example in examples])
        mask[torch.arange(len(examples)), torch.arange(len(examples))] = True
        teacher = None
        if all(example.scores for example in examples):
            teacher = torch.tensor(
                [
                    [example.scores[0], *(example.scores[1 + position] for position in chosen)]
                    for example, chosen in zip(examples, negatives, strict=True)
                ]
            ).to(device)
        return cls(mask.to(device), own.to(device), teacher)


@dataclass(slots=True)
class Objective:
    """The plan's losses and regularizers, with what they remember from step to step."""

    plan: TrainingPlan
    vocabulary_size: int
    lambdas: dict[SideName, LambdaController] = field(init=False)
    guards: dict[SideName, CollapseGuard] = field(init=False)
    shares: dict[SideName, DocumentShare] = field(init=False)

    def __post_init__(self) -> None:
        plan = self.plan
        targets: dict[SideName, int | None] = {
            "query": plan.target_query_terms,
            "document": plan.target_document_terms,
        }
        starts = {"query": plan.query_lambda, "document": plan.document_lambda}
        self.lambdas = {
            side: LambdaController(
                target=target, value=starts[side], rate=plan.lambda_rate, damping=plan.lambda_damping, most=1e3
            )
            for side, target in targets.items()
        }
        # A vector with more than a fifth of the vocabulary is none that an inverted index should hold.
        self.guards = {
            side: CollapseGuard(
                side=side,
                most_terms=max(4.0 * (target or 0), self.vocabulary_size / 5),
                patience=plan.guard_patience,
                # λ needs time to grow from its start to what a dense head asks for.
                grace=max(self.warm_up_steps, plan.steps // 4),
            )
            for side, target in targets.items()
        }
        self.shares = {side: DocumentShare(self.vocabulary_size) for side in targets}

    @property
    def warm_up_steps(self) -> int:
        return self.plan.steps // 10 if self.plan.warm_up_steps is None else self.plan.warm_up_steps

    @property
    def needed(self) -> tuple[Head, ...]:
        """Heads whose views a step needs: those that learn, and with self-distillation those that teach."""
        teaching = [head for head, weight in self.plan.teacher_weights.items() if weight]
        wanted = {*self.plan.heads, *(teaching if self.plan.self_distillation else [])}
        return tuple(head for head in ("dense", "sparse", "late") if head in wanted)

    def loss(
        self, queries: Views, documents: Views, candidates: Candidates, *, step: int
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, and its parts by name for the log.

        documents: in the order of `Candidates.of`
        """
        plan = self.plan
        raw = queries.scores(documents)
        scaled = {head: plan.scales[head] * scores for head, scores in raw.items()}
        parts: dict[str, Tensor] = {}
        teacher = self._own_teacher(scaled)
        for head in plan.heads:
            own = raw[head].gather(1, candidates.own)
            if plan.contrast:
                parts[f"{head}_contrast"] = plan.contrast * info_nce(scaled[head], mask=candidates.mask)
            if plan.margin_ranking:
                parts[f"{head}_margin_ranking"] = plan.margin_ranking * margin_ranking(own, margin=plan.margin)
            if plan.margin_mse and candidates.teacher is not None:
                parts[f"{head}_margin_mse"] = plan.margin_mse * margin_mse(own, candidates.teacher)
            if plan.kl_divergence and candidates.teacher is not None:
                parts[f"{head}_kl_divergence"] = plan.kl_divergence * kl_divergence(
                    plan.scales[head] * own,
                    candidates.teacher,
                    temperature=plan.temperature,
                    teacher_temperature=plan.teacher_temperature,
                )
            if teacher is not None:
                parts[f"{head}_self_distillation"] = plan.self_distillation * kl_divergence(scaled[head], teacher)
        if "sparse" in plan.heads:
            assert_sparse = {"query": queries.sparse, "document": documents.sparse}
            for side, vectors in assert_sparse.items():
                if vectors is not None:
                    parts[f"{side}_regularizer"] = self._penalty(side, vectors, step)  # type: ignore[arg-type]
        total = torch.stack(list(parts.values())).sum()
        return total, {name: float(part.detach()) for name, part in parts.items()}

    def _own_teacher(self, scaled: Mapping[Head, Tensor]) -> Tensor | None:
        """The mean of our heads' scores, which none of them gets a gradient through."""
        if not self.plan.self_distillation:
            return None
        weights = {head: self.plan.teacher_weights[head] for head in scaled}
        total = torch.stack([weights[head] * scores.detach() for head, scores in scaled.items()]).sum(dim=0)
        return total / sum(weights.values())

    def _penalty(self, side: SideName, vectors: Tensor, step: int) -> Tensor:
        kind = self.plan.query_regularizer if side == "query" else self.plan.document_regularizer
        weight = self.lambdas[side].weight * quadratic_warm_up(step, self.warm_up_steps)
        match kind:
            case "flops":
                return weight * flops(vectors)
            case "l1":
                return weight * l1(vectors)
            case "df_flops":
                return weight * df_flops(vectors, self.shares[side].update(vectors))

    def after_step(self, queries: Views, documents: Views, *, step: int) -> dict[str, float]:
        """Steer λ and look for a collapse; returns terms and λ of both sides for the log.

        Raises:
            TrainingCollapsed: one side's vectors died or went dense.
        """
        if "sparse" not in self.plan.heads:
            return {}
        told: dict[str, float] = {}
        sides: dict[SideName, Tensor | None] = {"query": queries.sparse, "document": documents.sparse}
        for side, vectors in sides.items():
            if vectors is None or (side == "query" and self.plan.queries == "inference-free"):
                continue
            controller, terms = self.lambdas[side], mean_terms(vectors)
            told |= {f"{side}_terms": terms, f"{side}_lambda": controller.weight}
            # While the warm-up holds the penalty down, an overshoot is no fault of λ.
            if step >= self.warm_up_steps:
                controller.update(terms)
            self.guards[side].check(vectors, step, weight=controller.weight)
        return told
