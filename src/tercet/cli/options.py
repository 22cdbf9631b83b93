"""What several commands take: where the index is, what is asked of it, how the answer is printed."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer
from rich.console import Console

from tercet.errors import StoreError

if TYPE_CHECKING:
    from tercet.index import HybridIndex
    from tercet.plan import SearchPlan

DEFAULT_INDEX = Path("kb")

Into = Annotated[Path, typer.Option("--into", help="The index's directory; made where it is missing.")]
In = Annotated[Path, typer.Option("--in", help="The index's directory.")]
Url = Annotated[
    str | None,
    typer.Option(
        help="A Qdrant server instead of a directory, as http://localhost:6333. "
        "Its API key is read from the environment variable QDRANT_API_KEY."
    ),
]
Collection = Annotated[str, typer.Option(help="The collection on that server.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE|JSON",
        help="Only documents whose metadata match: lang=en, or year=2024 (as number or text), or "
        '\'{"year": {"gte": 2024}, "lang": ["en", "de"]}\'. Given several times, all must match.',
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Significance = Annotated[Literal["t-test", "bootstrap"], typer.Option(help="How differences are tested.")]


@dataclass(frozen=True, kw_only=True)
class Place:
    """The index that a command reads or changes."""

    context: typer.Context
    place: In = DEFAULT_INDEX
    url: Url = None
    collection: Collection = "tercet"

    def open(self) -> HybridIndex:
        return open_index(self.context, self.place, self.url, self.collection, create=False)


@dataclass(frozen=True, kw_only=True)
class NewPlace:
    """The index that a command fills, and makes where it is missing."""

    context: typer.Context
    into: Into = DEFAULT_INDEX
    url: Url = None
    collection: Collection = "tercet"

    def open(self) -> HybridIndex:
        return open_index(self.context, self.into, self.url, self.collection, create=True)


@dataclass(frozen=True, kw_only=True)
class PlaceIfAny:
    """The index of a command that can do without one."""

    context: typer.Context
    place: Annotated[Path | None, typer.Option("--in", help="The index's directory, if one is to be asked.")] = None
    url: Url = None
    collection: Collection = "tercet"

    @property
    def given(self) -> bool:
        return self.place is not None or self.url is not None

    def open(self, path: Path | None = None, *, create: bool = False) -> HybridIndex:
        """path: for where none is given"""
        return open_index(self.context, self.place or path or DEFAULT_INDEX, self.url, self.collection, create=create)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """How a query is answered."""

    k: Annotated[int, typer.Option("-k", help="Hits that are shown.")] = 5
    where: Where = None
    mode: Annotated[
        Literal["fused", "cascade"],
        typer.Option(help="fused orders by all three rankings, cascade by late interaction alone."),
    ] = "fused"

    @property
    def plan(self) -> SearchPlan:
        from tercet.plan import SearchPlan

        return replace(SearchPlan.for_k(self.k), mode=self.mode)

    @property
    def condition(self) -> dict[str, Any] | None:
        return condition(self.where)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer from one that takes its options in groups.

    A parameter whose type is a dataclass, as `Place`, stands for the fields of that class: each becomes an option, and
    the command gets the class made of them.
    """
    groups: dict[str, type] = {}
    flat: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        if not is_dataclass(kind):
            flat.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        assert isinstance(kind, type)  # noqa: S101 for mypy: is_dataclass also lets instances pass
        groups[parameter.name] = kind
        hints = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            # An empty default of a field and of a parameter are two different marks.
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            flat.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
                )
            )

    def run(**values: Any) -> None:  # noqa: ANN401 whatever the options are
        made = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**values, **made)

    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return run


def open_index(context: typer.Context, path: Path, url: str | None, collection: str, *, create: bool) -> HybridIndex:
    from tercet.index import HybridIndex

    # Who calls the app from Python may pass an encoder as the context's object; the shell gets the shipped one.
    encoder = context.obj
    if url is None:
        from tercet.store.manifest import MANIFEST

        # The library's own message speaks of an argument, which no one has here.
        if not create and not (path.expanduser() / MANIFEST).exists():
            raise StoreError(f"there is no index at {path}; make one with: tercet index PATH --into {path}")
        return HybridIndex.open(path, encoder=encoder, create=create)
    api_key = os.environ.get("QDRANT_API_KEY")
    return HybridIndex.open(url=url, collection=collection, api_key=api_key, encoder=encoder, create=create)


def condition(conditions: Sequence[str] | None) -> dict[str, Any] | None:
    """One filter from all --where options, joined by and."""
    if not conditions:
        return None
    parsed = [_condition(each) for each in conditions]
    return parsed[0] if len(parsed) == 1 else {"and": parsed}


def _condition(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise typer.BadParameter(f"--where {text!r} is not JSON: {error}") from error
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise typer.BadParameter(f"--where takes KEY=VALUE or a JSON object, got {text!r}")
    return {key.strip(): {"in": _spellings(value)}}


def _spellings(text: str) -> list[str | int | float | bool]:
    """The values that a text may mean: 2024 a number or a string, as a CSV holds it, and "2024" in quotes a string."""
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    match value:
        case str():
            return [value]
        case int() | float() if abs(value) <= sys.float_info.max:  # not NaN, which JSON has none of; True is 1 here
            return [value, text]
        case _:
            return [text]


def print_json(value: object) -> None:
    # ASCII: right under every locale, and no byte of a document can act on a terminal.
    typer.echo(json.dumps(value, indent=2))


def console() -> Console:
    return Console(highlight=False)
