"""Training of the sparse head on cached states of a frozen trunk: pairs, states and teachers in, a SparseHead out."""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tercet.models.heads import LateHead, SparseHead, dense_head
from tercet.models.states import TokenStates
from tercet.models.teacher import TopTerms
from tercet.training.losses import info_nce, kl_divergence
from tercet.training.regularizers import LambdaController, flops, mean_terms
from tercet.training.scores import late_scores

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationPlan:
    """Settings of a round. The learning rate rises for 50 steps and falls to a fiftieth over the rest.

    learning_rate, projection_learning_rate: of the transform and its norm, and of what leads into the decoder
    side_learning_rate: of the side network, where the head has one
    contrast: weight of the cross-entropy to the positive
    imitation: of the squared distance to the small SPLADE's vectors, in the first half of the steps and in the second
    dense, late, lexical, ensemble: what each teacher's scores are multiplied by before they are added
    alike_lengths: batches hold texts of like length, which is quicker; mixed ones teach to compare long with short
    """

    steps: int = 1300
    batch_size: int = 64
    learning_rate: float = 1e-3
    projection_learning_rate: float = 1e-3
    decoder_learning_rate: float = 5e-4
    bonus_learning_rate: float = 5e-3
    side_learning_rate: float = 1e-4
    target_document_terms: int = 140
    target_query_terms: int = 24
    contrast: float = 1.0
    imitation: tuple[float, float] = (0.05, 0.02)
    dense: float = 10.0
    late: float = 15.0
    lexical: float = 0.5
    ensemble: float = 0.0
    alike_lengths: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LateDistillationPlan:
    """Settings of the late head's run. A low temperature looks at the best tokens only, as MaxSim does."""

    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 2e-3
    temperature: float = 0.05
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """Queries or documents: their states, and what the lexical teacher makes of them."""

    states: TokenStates
    teacher: TopTerms

    def batch(self, texts: Sequence[int]) -> tuple[Tensor, Tensor, list[int]]:
        """States (n_tokens, hidden), token ids and lengths of these texts, special tokens included."""
        rows = [self.states.rows(text) for text in texts]
        states = np.concatenate([self.states.states[part] for part in rows]).astype(np.float32)
        ids = np.concatenate([self.states.token_ids[part] for part in rows]).astype(np.int64)
        return torch.from_numpy(states), torch.from_numpy(ids), [part.stop - part.start for part in rows]


def without_specials(states: Tensor, ids: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor, list[int]]:
    """Drop [CLS] and [SEP]: they would fire as terms of their own."""
    keep = torch.ones(len(ids), dtype=torch.bool)
    ends = torch.tensor(lengths).cumsum(0)
    keep[ends - 1] = False
    keep[ends - torch.tensor(lengths)] = False
    return states[keep], ids[keep], [length - 2 for length in lengths]


@dataclass(frozen=True, slots=True)
class PairIndex:
    """A pair as positions in both sides, with its source."""

    query: int
    document: int
    source: str


def batches(
    pairs: Sequence[PairIndex], documents: TokenStates, size: int, seed: int, *, alike_lengths: bool = True
) -> Iterator[list[PairIndex]]:
    """Endless batches without a repeated document; every second one stays inside one source.

    In-batch negatives from the same source are the hard ones: telling an aspirin page from a database page is easy.
    Where lengths inside a batch are alike the tiles are full.
    """
    if (distinct := len({pair.document for pair in pairs})) < 2 * size:
        # Drawing would go on for ever, or give the same batch again and again.
        raise ValueError(f"batches of {size} need pairs with at least {2 * size} documents, got {distinct}")
    rng = random.Random(seed)
    by_source: dict[str, list[PairIndex]] = defaultdict(list)
    for pair in pairs:
        by_source[pair.source].append(pair)
    names = sorted(by_source)
    shares = [len(by_source[name]) for name in names]
    while True:
        source = by_source[rng.choices(names, shares)[0]]
        # A source with fewer pairs than a batch cannot fill one.
        pool = source if rng.random() < 0.5 and len(source) >= 2 * size else pairs
        drawn = rng.sample(pool, min(len(pool), 8 * size))
        drawn = list({pair.document: pair for pair in drawn}.values())
        if alike_lengths:
            drawn.sort(key=lambda pair: documents.length(pair.document))
        if len(drawn) >= size:
            start = rng.randrange(len(drawn) - size + 1)
            yield drawn[start : start + size]


def train_sparse_head(
    head: SparseHead,
    late: LateHead,
    queries: Side,
    documents: Side,
    pairs: Sequence[PairIndex],
    plan: DistillationPlan,
    *,
    earlier: SparseHead | None = None,
) -> SparseHead:
    """Teach the head to rank a batch as its teachers do.

    Loss = KL(teachers ‖ head) + contrast · cross-entropy to the positive + imitation · squared distance to the lexical
    teacher + λ · FLOPS (Paria et al., 2020) for each side. Teachers: the trunk's own dense cosine, its late
    interaction, the lexical teacher's scores, and the ensemble's, added as logits. λ follows the number of terms
    instead of a schedule, so neither side dies or grows dense.

    earlier: a head that was trained before; its vectors added to the lexical teacher's are the ensemble's

    Raises:
        ValueError: the plan asks for an ensemble and there is no earlier head.
    """
    if plan.ensemble and earlier is None:
        raise ValueError("the ensemble is the lexical teacher and an earlier head; pass that head")
    torch.manual_seed(plan.seed)
    decoder = [head.decoder, head.bias]
    bonus = [head.term_bonus, *head.bonus.parameters()]
    if head.frequency is not None:
        bonus += head.frequency.parameters()
    others = [*head.transform.parameters(), *head.norm.parameters()]
    groups = [
        {"params": others, "lr": plan.learning_rate},
        {"params": list(head.project.parameters()), "lr": plan.projection_learning_rate},
        {"params": decoder, "lr": plan.decoder_learning_rate},
        {"params": bonus, "lr": plan.bonus_learning_rate},
    ]
    if head.side is not None:
        groups.append({"params": list(head.side.parameters()), "lr": plan.side_learning_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 50) * max(0.02, 1 - step / plan.steps)
    )
    vocabulary_size = len(head.bias)
    lambdas = {
        "document": LambdaController(target=plan.target_document_terms),
        "query": LambdaController(target=plan.target_query_terms),
    }
    started = time.monotonic()
    for step, batch in zip(
        range(plan.steps),
        batches(pairs, documents.states, plan.batch_size, plan.seed, alike_lengths=plan.alike_lengths),
        strict=False,
    ):
        query_texts, document_texts = [pair.query for pair in batch], [pair.document for pair in batch]
        query_states = queries.batch(query_texts)
        document_states = documents.batch(document_texts)
        with torch.no_grad():
            query_teacher = queries.teacher.dense(query_texts, vocabulary_size)
            document_teacher = documents.teacher.dense(document_texts, vocabulary_size)
            dense = dense_head(query_states[0], query_states[2]) @ dense_head(document_states[0], document_states[2]).T
            maxsim = late_scores(late(query_states[0]), query_states[2], late(document_states[0]), document_states[2])
            maxsim = maxsim / torch.tensor(query_states[2])[:, None]
            teacher = plan.dense * dense + plan.late * maxsim + plan.lexical * query_teacher @ document_teacher.T
            if earlier is not None and plan.ensemble:
                query_sum = query_teacher + earlier(*without_specials(*query_states))
                document_sum = head.even(document_teacher + earlier(*without_specials(*document_states)))
                teacher = teacher + plan.ensemble * query_sum @ document_sum.T
        query_vectors = head(*without_specials(*query_states))
        document_vectors = head(*without_specials(*document_states))
        scores = query_vectors @ document_vectors.T
        divergence, contrast = kl_divergence(scores, teacher), info_nce(scores)
        distance = (query_vectors - query_teacher).square().sum(1).mean()
        distance = distance + (document_vectors - document_teacher).square().sum(1).mean()
        imitation = plan.imitation[step > plan.steps // 2]
        loss = divergence + plan.contrast * contrast + imitation * distance
        weights = {side: controller.value for side, controller in lambdas.items()}
        loss = loss + weights["query"] * flops(query_vectors) + weights["document"] * flops(document_vectors)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        terms = {"query": mean_terms(query_vectors), "document": mean_terms(document_vectors)}
        for side, controller in lambdas.items():
            controller.update(terms[side])
        if step % 50 == 0:
            logger.info(
                "step %d of %d: loss %.3f, kl %.3f, cross-entropy %.3f, distance %.1f, terms %.0f · %.0f, "
                "λ %.4f · %.4f, %.0f s",
                step, plan.steps, loss.item(), divergence.item(), contrast.item(), distance.item(),
                terms["query"], terms["document"], weights["query"], weights["document"], time.monotonic() - started,
            )  # fmt: skip
    return head


def train_late_head(
    head: LateHead, queries: Side, documents: Side, pairs: Sequence[PairIndex], plan: LateDistillationPlan
) -> LateHead:
    """Teach the projection to rank tokens as the trunk's whole states do.

    For each query token, KL divergence between the softmax over all document tokens of a batch of full-size cosines and
    of projected ones. Needs no labels: the wide states are the teacher of the narrow ones.
    """
    torch.manual_seed(plan.seed)
    optimizer = torch.optim.Adam(head.parameters(), lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 20) * (1 - step / plan.steps)
    )
    started = time.monotonic()
    drawn = batches(pairs, documents.states, plan.batch_size, plan.seed)
    for step, batch in zip(range(plan.steps), drawn, strict=False):
        query_states = queries.batch([pair.query for pair in batch])[0]
        document_states = documents.batch([pair.document for pair in batch])[0]
        wide = F.normalize(query_states, dim=-1) @ F.normalize(document_states, dim=-1).T
        narrow = head(query_states) @ head(document_states).T
        # Divided by T², for its learning rate was chosen without.
        loss = kl_divergence(narrow, wide, temperature=plan.temperature) / plan.temperature**2
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            seconds = time.monotonic() - started
            logger.info("late head, step %d of %d: kl %.4f, %.0f s", step, plan.steps, loss.item(), seconds)
    return head
