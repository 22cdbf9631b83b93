from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from tercet.cli.options import condition, grouped


@dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option(help="Of the box.")]
    height: Annotated[int, typer.Option("--tall")] = 2

    @property
    def area(self) -> int:
        return self.width * self.height


def paint(colour: Annotated[str, typer.Argument()], *, size: Size, gloss: bool = False) -> None:
    """Paint a box."""
    typer.echo(f"{colour} {size.area} {gloss}")


def painted(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(grouped(paint))
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_a_group_stands_for_its_fields_in_their_place() -> None:
    assert list(inspect.signature(grouped(paint)).parameters) == ["colour", "width", "height", "gloss"]
    assert painted("red", "--width", "3").stdout == "red 6 False\n"
    assert painted("red", "--width", "3", "--tall", "5", "--gloss").stdout == "red 15 True\n"


def test_what_a_group_needs_is_asked_for_and_help_tells_it() -> None:
    assert painted("red").exit_code == 2
    shown = painted("--help").stdout
    assert "Of the box." in shown
    assert "Paint a box." in shown


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ([], None),
        (["lang=en"], {"lang": {"in": ["en"]}}),
        (["year=2024"], {"year": {"in": [2024, "2024"]}}),
        (['{"year": {"gte": 2024}}', "a=b=c"], {"and": [{"year": {"gte": 2024}}, {"a": {"in": ["b=c"]}}]}),
    ],
)
def test_all_conditions_become_one_filter(given: list[str] | None, expected: dict[str, Any] | None) -> None:
    assert condition(given) == expected
