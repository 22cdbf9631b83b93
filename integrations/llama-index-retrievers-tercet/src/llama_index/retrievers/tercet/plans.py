"""How many hits, and how: LlamaIndex's numbers in, a `SearchPlan` out whose pool is large enough for them."""

from __future__ import annotations

from dataclasses import replace

from tercet import SearchPlan


def plan_for(k: int | None, plan: SearchPlan, *, at_least: int = 1) -> SearchPlan:
    """`plan` for k hits; its pool grows where it is smaller than k or `at_least`.

    Raises:
        ValueError: k is no whole number of at least 1.
    """
    if k is None:
        k = plan.k
    # What is no number is for the plan to refuse, in its own words.
    least = max(k, at_least) if isinstance(k, int) else at_least
    return replace(plan, k=k, prefetch_k=max(plan.prefetch_k, least), rerank_k=max(plan.rerank_k, least))
