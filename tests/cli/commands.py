"""Calls of the command line in tests, with the toy encoder in place of a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from typer.testing import CliRunner

from tercet.cli import app
from tests.toys import ToyEncoder

Run = Callable[..., Any]


def invoke(*arguments: str, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, arguments, input=stdin, obj=ToyEncoder())


def ids_found(result: Any) -> list[str]:
    return [hit["id"] for hit in json.loads(result.stdout)["hits"]]
