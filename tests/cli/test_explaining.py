from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tercet.cli import app
from tercet.encoders.mini import MiniEncoder
from tests.cli.commands import Run


def test_explain_shows_the_parts_of_the_best_hit(indexed: Run) -> None:
    result = indexed("explain", "rotate keys")

    assert result.exit_code == 0
    assert result.stdout.startswith("docs/keys.md#rotation/1  ")
    for line in ("= sparse", "= late", "makes the pool"):
        assert line in result.stdout


def test_explain_says_where_a_document_fell(indexed: Run) -> None:
    answer = json.loads(indexed("explain", "rotate keys", "docs/roles.md#roles/1", "-k", "1", "--json").stdout)

    assert (answer["found"], answer["fell_at"]) == (False, "k")


def test_explain_compares_two_documents(indexed: Run) -> None:
    result = indexed("explain", "rotate keys", "docs/keys.md#rotation/1", "--against", "docs/roles.md#roles/1")

    assert " above docs/roles.md#roles/1: " in result.stdout.replace("\n", " ")


def test_explain_writes_a_page(indexed: Run, tmp_path: Path) -> None:
    page = tmp_path / "why.html"
    result = indexed("explain", "rotate keys", "--html", str(page))

    assert result.stdout == ""
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["keys", "nowhere"], 1, "there is no document 'nowhere'"),
        (["keys", "--html", "x.html", "--json"], 2, "are each for one explanation"),
        (["keys", "--where", "source=nowhere"], 1, "nothing was found"),
    ],
)
def test_explain_says_what_is_wrong(indexed: Run, arguments: list[str], code: int, message: str) -> None:
    result = indexed("explain", *arguments)

    assert result.exit_code == code
    assert message in result.stderr


def test_explain_writes_the_page_that_teaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = MiniEncoder(threads=1)  # the toy one has no embedding matrix to be looked into
    Path("a.jsonl").write_text('{"id": "a", "text": "Rotate the keys"}\n{"id": "b", "text": "The key of a piano"}\n')

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, arguments, obj=encoder)

    assert run("index", "a.jsonl").exit_code == 0
    result = run("explain", "key rotation", "--page", "why.html", "--contrast", "piano key", "-k", "1")

    assert result.exit_code == 0, result.stderr
    page = Path("why.html").read_text()
    assert "BM25" in page
    assert "piano key" in page
    for wrong in (["--json"], ["--html", "x.html"], ["--against", "b"]):
        assert run("explain", "key", "--page", "why.html", *wrong).exit_code == 2
    assert run("explain", "key", "--contrast", "piano").exit_code == 2
