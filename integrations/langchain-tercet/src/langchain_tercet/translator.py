"""LangChain's structured query in, tercet's plain filter out: for self-query retrievers."""

from __future__ import annotations

import datetime
from typing import Any

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)
from tercet.errors import InvalidFilter

_NAMES = {
    Comparator.EQ: "eq",
    Comparator.NE: "ne",
    Comparator.GT: "gt",
    Comparator.GTE: "gte",
    Comparator.LT: "lt",
    Comparator.LTE: "lte",
    Comparator.IN: "in",
    Comparator.NIN: "nin",
    Comparator.CONTAIN: "eq",  # where the metadata hold a list, equal means that one element is
}


class TercetTranslator(Visitor):
    """Translates what a self-query's model wrote, as SelfQueryRetriever's `structured_query_translator`.

    `contain` asks whether a list holds the value. `like` has no counterpart and raises InvalidFilter; a prompt made
    from `allowed_comparators` does not offer it.
    """

    allowed_comparators = tuple(_NAMES)
    allowed_operators = (Operator.AND, Operator.OR, Operator.NOT)

    def visit_operation(self, operation: Operation) -> dict[str, Any]:
        parts = [argument.accept(self) for argument in operation.arguments]
        if not parts:
            raise InvalidFilter(f"the operation {operation.operator.value!r} has no arguments; give it at least one")
        if operation.operator is Operator.NOT:
            if len(parts) != 1:
                raise InvalidFilter(f"'not' takes one argument, got {len(parts)}; join them by 'and' or 'or' first")
            return {"not": parts[0]}
        return {operation.operator.value: parts}

    def visit_comparison(self, comparison: Comparison) -> dict[str, Any]:
        if comparison.comparator not in _NAMES:
            raise InvalidFilter(
                f"{comparison.comparator.value!r} on {comparison.attribute!r} has no counterpart in tercet; the "
                f"comparators are {', '.join(comparator.value for comparator in _NAMES)}"
            )
        # A model writes "metadata.lang" where the prompt's attribute was so named.
        key = comparison.attribute.removeprefix("metadata.")
        return {key: {_NAMES[comparison.comparator]: _value(comparison.value)}}

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """The query, and the search's other arguments: {"filter": …}, or {} where it has none."""
        if structured_query.filter is None:
            return structured_query.query, {}
        return structured_query.query, {"filter": structured_query.filter.accept(self)}


def _value(value: Any) -> Any:
    """A date as the query parser writes it, {"date": "2024-05-01", "type": "date"}, as a date."""
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if isinstance(value, dict) and value.get("type") in ("date", "datetime"):
        text = value.get(value["type"])
        try:
            if value["type"] == "date":
                return datetime.date.fromisoformat(str(text))
            return datetime.datetime.fromisoformat(str(text))
        except ValueError:
            raise InvalidFilter(f"{text!r} is no {value['type']} in ISO 8601, like 2024-05-01") from None
    return value
