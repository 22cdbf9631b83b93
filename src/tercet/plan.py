"""How one query is answered, as a value: vary it with `dataclasses.replace`, save it as JSON beside what it shaped."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

from tercet.types import DENSE, LATE, SPARSE

STAGES = (DENSE, SPARSE, LATE)


def default_weights() -> dict[str, float]:
    """Late interaction counts three times: it reads the pool token by token. Measured in benchmarks/quality."""
    return {DENSE: 1.0, SPARSE: 1.0, LATE: 3.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """How one query is answered.

    `json.dumps(dataclasses.asdict(plan))` saves a plan, `SearchPlan(**json.loads(text))` makes it again.

    k: hits returned
    prefetch_k: candidates from each of dense and sparse
    rerank_k: fused candidates that late interaction scores
    rank_constant: of the pool's reciprocal rank fusion; a weight w gives w / (rank_constant + rank), as in the paper
    weights: by stage; those of dense and sparse shape the pool, all three the final order. A stage that is not named
        has its default of 1, late of 3; what only stages of weight 0 found is no hit
    stages: those that take part; ("sparse",) is SPLADE alone, ("dense", "sparse") fuses without reranking
    mode: "fused" orders by all three rankings, "cascade" by late interaction alone
    fusion: how mode="fused" joins them for the final order: "min_max" by the weighted mean of scores stretched to
        [0, 1], which keeps how far apart two documents are, or "rrf" by rank; the pool is joined by rank in both
    threshold: least final score of a hit, or the least score by stage, {"dense": 0.3}; a hit that a named stage did
        not find is dropped

    Raises:
        ValueError: a number below 1, an unknown stage, k above the pool that it is cut from, a threshold that is no
            number or is for a stage that does not take part.
    """

    k: int = 10
    prefetch_k: int = 100
    rerank_k: int = 100
    rank_constant: int = 60
    weights: Mapping[str, float] = field(default_factory=default_weights)
    stages: tuple[str, ...] = STAGES
    mode: Literal["fused", "cascade"] = "fused"
    fusion: Literal["rrf", "min_max"] = "min_max"
    threshold: float | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("prefetch_k", 1), ("rerank_k", 1), ("rank_constant", 0)):
            object.__setattr__(self, name, _whole_number(name, getattr(self, name), least))
        if self.mode not in ("fused", "cascade"):
            raise ValueError(f"mode must be 'fused' or 'cascade', got {self.mode!r}")
        if self.fusion not in ("rrf", "min_max"):
            raise ValueError(f"fusion must be 'rrf' or 'min_max', got {self.fusion!r}")
        object.__setattr__(self, "stages", tuple(self.stages))
        _check_stages("stages", self.stages)
        if not self.prefetches:
            raise ValueError("late interaction reranks what dense or sparse found; add one of them to stages")
        if self.mode == "cascade" and LATE not in self.stages:
            raise ValueError("mode='cascade' orders by late interaction; add 'late' to stages")
        # Plain dicts of plain numbers, the plan's own: they can be copied, pickled and written as JSON.
        object.__setattr__(self, "weights", {**default_weights(), **_numbers("weights", self.weights)})
        for stage, weight in self.weights.items():
            if weight < 0:
                raise ValueError(f"the weight of {stage!r} must be finite and not negative, got {weight!r}")
        if isinstance(self.threshold, Mapping):
            object.__setattr__(self, "threshold", _numbers("threshold", self.threshold))
            if absent := set(self.threshold) - set(self.stages):
                raise ValueError(f"the threshold is for {sorted(absent)}, which do not take part; add them to stages")
        elif self.threshold is not None:
            object.__setattr__(self, "threshold", _number("the threshold", self.threshold))
        if self.k > self._pool():
            raise ValueError(
                f"k={self.k} hits cannot come from a pool of {self._pool()}; "
                f"raise prefetch_k and rerank_k to at least k"
            )

    @property
    def prefetches(self) -> tuple[str, ...]:
        """The stages that search the whole index."""
        return tuple(stage for stage in (DENSE, SPARSE) if stage in self.stages)

    @classmethod
    def for_k(cls, k: int) -> SearchPlan:
        """The default plan for k hits, with a pool large enough for them."""
        pool = max(100, 2 * _whole_number("k", k, 1))
        return cls(k=k, prefetch_k=pool, rerank_k=pool)

    def _pool(self) -> int:
        """The most documents that can come out, where no two stages find the same."""
        finding = sum(self.weights[stage] > 0 for stage in self.prefetches)
        if not finding:
            raise ValueError("the weights of all prefetch stages are 0, which leaves nothing to rank")
        return min(self.rerank_k, finding * self.prefetch_k) if LATE in self.stages else finding * self.prefetch_k


def _whole_number(name: str, value: Any, least: int) -> int:  # noqa: ANN401 checked here
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return number


def _numbers(field_name: str, by_stage: Any) -> dict[str, float]:  # noqa: ANN401 checked here
    if not isinstance(by_stage, Mapping):
        raise ValueError(f"{field_name} is a dict by stage, got {by_stage!r}")
    _check_stages(field_name, tuple(by_stage))
    return {stage: _number(f"{field_name}[{stage!r}]", value) for stage, value in by_stage.items()}


def _number(name: str, value: Any) -> float:  # noqa: ANN401 checked here
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def _check_stages(field_name: str, stages: tuple[str, ...]) -> None:
    if unknown := set(stages) - set(STAGES):
        raise ValueError(f"{field_name} names {sorted(unknown)}, the stages are {', '.join(STAGES)}")
