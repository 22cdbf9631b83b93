"""What plans have in common: read and written as JSON, and every value checked when a plan is made."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Self


class JsonPlan:
    """A frozen dataclass that is saved beside what it shaped."""

    __slots__ = ()

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read `to_json`'s text, or training.json, which holds a plan among other things.

        Raises:
            ValueError: it is no plan, or an entry is unknown.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"expected an object, got {text.strip()[:20]!r}")
        values = values.get("plan", values)
        known = {entry.name for entry in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := set(values) - known:
            raise ValueError(f"the plan has unknown entries: {', '.join(sorted(unknown))}")
        return cls(**values)


def check_choice(name: str, values: tuple[Any, ...], allowed: tuple[Any, ...]) -> None:
    if unknown := [value for value in values if value not in allowed]:
        raise ValueError(f"{name} does not know {unknown[0]!r}; choose from {', '.join(map(repr, allowed))}")


def check_whole(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_number(name: str, value: object, *, positive: bool = False) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (positive and value == 0):  # type: ignore[operator]
        raise ValueError(f"{name} must be a finite number {'above 0' if positive else 'of at least 0'}, got {value!r}")
