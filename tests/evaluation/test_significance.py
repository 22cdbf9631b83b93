from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tercet.evaluation.significance import paired_difference

_random = np.random.default_rng(1)
BASELINE = {f"q{number}": float(value) for number, value in enumerate(_random.random(80))}
BETTER = {query: min(1.0, value + float(_random.normal(0.05, 0.15))) for query, value in BASELINE.items()}


def test_the_t_test_is_scipys_paired_one() -> None:
    found = paired_difference(BETTER, BASELINE)

    reference = stats.ttest_rel(list(BETTER.values()), list(BASELINE.values()))
    interval = reference.confidence_interval()
    assert found.p_value == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx(np.mean(list(BETTER.values())) - np.mean(list(BASELINE.values())))
    assert found.wins + found.losses == 80


def test_the_bootstrap_agrees_with_the_t_test_and_with_itself() -> None:
    t_test, first = paired_difference(BETTER, BASELINE), paired_difference(BETTER, BASELINE, test="bootstrap")

    assert first.p_value == pytest.approx(t_test.p_value, abs=0.01)
    assert (first.low, first.high) == pytest.approx((t_test.low, t_test.high), abs=0.01)
    assert paired_difference(BETTER, BASELINE, test="bootstrap") == first


def test_queries_are_paired_by_name_and_not_by_place() -> None:
    backwards = dict(reversed(BASELINE.items()))

    assert paired_difference(BETTER, backwards) == paired_difference(BETTER, BASELINE)


@pytest.mark.parametrize("test", ["t-test", "bootstrap"])
def test_equal_systems_differ_by_nothing(test: str) -> None:
    found = paired_difference(BASELINE, BASELINE, test=test)  # type: ignore[arg-type]

    assert (found.mean, found.p_value, found.wins, found.losses) == (0, 1, 0, 0)


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(ValueError, match="the same queries"):
        paired_difference({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0})
    with pytest.raises(ValueError, match="at least two queries"):
        paired_difference({"a": 1.0}, {"a": 1.0})
    with pytest.raises(ValueError, match="'t-test' or 'bootstrap'"):
        paired_difference(BETTER, BASELINE, test="sign")  # type: ignore[arg-type]
