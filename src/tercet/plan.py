"""How one query is answered, as a value: vary it with `dataclasses.replace`, save it as JSON beside what it shaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from tercet.types import DENSE, LATE, SPARSE

STAGES = (DENSE, SPARSE, LATE)

#: Late interaction counts twice: it reads the pool token by token. Measured in benchmarks/quality.
DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType({DENSE: 1.0, SPARSE: 1.0, LATE: 2.0})


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """How one query is answered.

    k: hits returned
    prefetch_k: candidates from each of dense and sparse
    rerank_k: fused candidates that late interaction scores
    rank_constant: of reciprocal rank fusion; a weight w gives w / (rank_constant + rank), as in the paper
    weights: by stage; those of dense and sparse shape the pool, all three the final order
    stages: those that take part; ("sparse",) is SPLADE alone, ("dense", "sparse") fuses without reranking
    mode: "fused" orders by all three rankings, "cascade" by late interaction alone
    threshold: least final score of a hit, or the least score by stage, {"dense": 0.3}; a hit that a named stage did
        not find is dropped

    Raises:
        ValueError: a number below 1, an unknown stage, k above the pool that it is cut from.
    """

    k: int = 10
    prefetch_k: int = 100
    rerank_k: int = 100
    rank_constant: int = 60
    weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_WEIGHTS)
    stages: tuple[str, ...] = STAGES
    mode: Literal["fused", "cascade"] = "fused"
    threshold: float | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for name in ("k", "prefetch_k", "rerank_k"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if not isinstance(self.rank_constant, int) or self.rank_constant < 0:
            raise ValueError(f"rank_constant must be a whole number of at least 0, got {self.rank_constant!r}")
        if self.mode not in ("fused", "cascade"):
            raise ValueError(f"mode must be 'fused' or 'cascade', got {self.mode!r}")
        object.__setattr__(self, "stages", tuple(self.stages))
        _check_stages("stages", self.stages)
        if not self.prefetches:
            raise ValueError("late interaction reranks what dense or sparse found; add one of them to stages")
        if self.mode == "cascade" and LATE not in self.stages:
            raise ValueError("mode='cascade' orders by late interaction; add 'late' to stages")
        _check_stages("weights", tuple(self.weights))
        for stage, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of {stage!r} must be finite and not negative, got {weight!r}")
        if not any(self.weights.get(stage, 1.0) > 0 for stage in self.prefetches):
            raise ValueError("the weights of all prefetch stages are 0, which leaves nothing to rank")
        if isinstance(self.threshold, Mapping):
            _check_stages("threshold", tuple(self.threshold))
        pool = self.rerank_k if LATE in self.stages else self.prefetch_k * len(self.prefetches)
        if self.k > pool:
            raise ValueError(
                f"k={self.k} hits cannot come from a pool of {pool}; raise prefetch_k and rerank_k to at least k"
            )

    @property
    def prefetches(self) -> tuple[str, ...]:
        """The stages that search the whole index."""
        return tuple(stage for stage in (DENSE, SPARSE) if stage in self.stages)

    @classmethod
    def for_k(cls, k: int) -> SearchPlan:
        """The default plan for k hits, with a pool large enough for them."""
        pool = max(100, 2 * k) if isinstance(k, int) else 100
        return cls(k=k, prefetch_k=pool, rerank_k=pool)


def _check_stages(field_name: str, stages: tuple[str, ...]) -> None:
    if unknown := set(stages) - set(STAGES):
        raise ValueError(f"{field_name} names {sorted(unknown)}, the stages are {', '.join(STAGES)}")
