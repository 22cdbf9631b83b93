"""Losses over scores: a matrix of query-document scores in, one number out.

A loss that sees only scores trains every head alike: a sparse dot product, MaxSim, a cosine. Two layouts occur:

* a **list**, (batch, n_docs): column 0 is the query's positive, the others are its own negatives
* **in-batch**, (batch, n_docs): all documents of the batch for every query; `positives` says which one is right

Scores are used as they come. Whoever compares cosines, which lie within [-1, 1], multiplies by a scale first.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(scores: Tensor, positives: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
    """Tell the positive from all other documents: mean of −log(exp s⁺ / Σ exp s) (van den Oord et al., 2018).

    Henderson et al. (2017) took the negatives from the batch; hard negatives are further columns.

    scores: (batch, n_docs)
    positives: (batch,) the column of each query's positive; None means column i for query i
    mask: (batch, n_docs), False at documents that are no negative, as another positive of the same query

    Raises:
        ValueError: there are fewer documents than queries, so column i cannot be the positive of query i.
    """
    if positives is None:
        if scores.shape[1] < scores.shape[0]:
            raise ValueError(
                f"{scores.shape[0]} queries need at least as many documents, got {scores.shape[1]}; "
                f"say with positives= in which column each query's positive stands"
            )
        positives = torch.arange(scores.shape[0], device=scores.device)
    if mask is not None:
        # A masked document must not weigh in the denominator, hence -inf and not 0.
        scores = scores.masked_fill(~mask, -torch.inf)
    return F.cross_entropy(scores, positives)


def margin_ranking(scores: Tensor, *, margin: float) -> Tensor:
    """Keep each negative a margin below the positive: mean of max(0, m − s⁺ + s⁻) (Weston and Watkins, 1999).

    scores: (batch, n_docs), the positive in column 0
    """
    _check_list(scores)
    return torch.relu(margin - scores[:, :1] + scores[:, 1:]).mean()


def margin_mse(scores: Tensor, teacher_scores: Tensor) -> Tensor:
    """Match the teacher's gap between positive and negative: mean of ((s⁺ − s⁻) − (t⁺ − t⁻))².

    Hofstätter et al. (2020). The gap, not the score: a dot product and a cross-encoder's logit have no common zero.

    scores, teacher_scores: (batch, n_docs), the positive in column 0
    """
    _check_list(scores, teacher_scores)
    return F.mse_loss(scores[:, :1] - scores[:, 1:], teacher_scores[:, :1] - teacher_scores[:, 1:])


def kl_divergence(
    scores: Tensor,
    teacher_scores: Tensor,
    *,
    temperature: float = 1.0,
    teacher_temperature: float | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Match the teacher's distribution over documents: T² · mean of Σ p_t (log p_t − log p_s), p = softmax(· / T).

    Hinton et al. (2015); for ranking Lin et al. (2020), ColBERTv2 and SPLADE-v3. T² keeps the size of the gradients.

    scores, teacher_scores: (batch, n_docs) in either layout
    temperature: of the student; above 1 it looks further down the list
    teacher_temperature: None means the student's; a cross-encoder's logits spread wider than a cosine
    mask: (batch, n_docs), False at documents that are left out of both distributions
    """
    _check_list(scores, teacher_scores)
    ours = scores / temperature
    theirs = teacher_scores / (temperature if teacher_temperature is None else teacher_temperature)
    if mask is not None:
        # Not -inf: 0 · (-inf − -inf) would be no number. exp(-1e4) is 0 all the same.
        ours, theirs = ours.masked_fill(~mask, -1e4), theirs.masked_fill(~mask, -1e4)
    divergence = F.kl_div(ours.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="batchmean")
    return temperature**2 * divergence


def _check_list(scores: Tensor, teacher_scores: Tensor | None = None) -> None:
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(
            f"each query needs its positive and at least one negative, got scores of shape {tuple(scores.shape)}"
        )
    if teacher_scores is not None and teacher_scores.shape != scores.shape:
        raise ValueError(
            f"the teacher scored {tuple(teacher_scores.shape)} documents, the student {tuple(scores.shape)}; "
            f"both must score the same ones"
        )
