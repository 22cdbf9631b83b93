"""Two systems' figures on the same queries in, the likelihood of their difference by chance out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tercet.errors import MissingExtra

Test: TypeAlias = Literal["t-test", "bootstrap"]

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference over paired queries.

    p_value: two-sided, for "no difference"; not corrected for how many systems are compared
    low, high: 95 % confidence interval of the difference
    wins, losses: queries on which the system is better or worse; on the others both are equal
    """

    mean: float
    p_value: float
    low: float
    high: float
    wins: int
    losses: int
    test: Test


def paired_difference(
    values: Mapping[str, float], baseline: Mapping[str, float], *, test: Test = "t-test"
) -> Difference:
    """How much better than the baseline, query by query, and how likely by chance.

    test: "t-test" is Student's paired one, which agrees with resampling on IR measures (Smucker et al., 2007);
        "bootstrap" resamples the queries 10,000 times, always the same way: its p-value is the share of resampled mean
        differences, moved to a mean of 0, that are as far from 0 as the one found (Sakai, 2006, without studentizing)

    Raises:
        ValueError: the queries are not the same, or fewer than two.
        MissingExtra: SciPy is not installed.
    """
    if set(values) != set(baseline):
        raise ValueError("both systems must have values for the same queries")
    if len(values) < 2:
        raise ValueError(f"a paired test needs at least two queries, got {len(values)}")
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtra("a significance test", "evaluation") from error
    differences = np.array([values[query] - baseline[query] for query in values])
    mean = float(differences.mean())
    if np.ptp(differences) == 0:
        # All alike, there is nothing to estimate a spread from: equal systems differ by nothing, else by all of it.
        p_value, low, high = (1.0 if mean == 0 else 0.0), mean, mean
    elif test == "t-test":
        result = stats.ttest_1samp(differences, 0.0)
        interval = result.confidence_interval(0.95)
        p_value, low, high = float(result.pvalue), float(interval.low), float(interval.high)
    elif test == "bootstrap":
        resampled = stats.bootstrap(
            (differences,),
            np.mean,
            n_resamples=RESAMPLES,
            method="percentile",
            vectorized=True,
            batch=100,
            rng=np.random.default_rng(0),
        )
        extreme = np.abs(resampled.bootstrap_distribution - mean) >= abs(mean)
        p_value = float((1 + extreme.sum()) / (1 + RESAMPLES))
        low, high = float(resampled.confidence_interval.low), float(resampled.confidence_interval.high)
    else:
        raise ValueError(f"test must be 't-test' or 'bootstrap', got {test!r}")
    return Difference(mean, p_value, low, high, int((differences > 0).sum()), int((differences < 0).sum()), test)
