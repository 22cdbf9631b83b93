from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.commands import Run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "keys", "--in", "nowhere"], "no index at nowhere; make one with: tercet index PATH --into nowhere"),
        (["info", "--in", "docs"], "no index at docs; make one with: tercet index PATH --into docs"),
        (["repair", "nowhere", "--yes"], "there is no index at"),
        (["search", " "], "the query is empty"),
        (["search", "keys", "-k", "0"], "k must be a whole number of at least 1, got 0"),
        (["search", "keys", "--where", '{"start": {"near": 1}}'], "near"),
        (["index", "nowhere.md"], "nowhere.md: there is no such file or folder"),
        (["index", "docs", "--max-words", "0"], "max_words must be at least 1"),
        (["index", "empty"], "no document was found in empty"),
    ],
)
def test_an_error_is_one_line_on_standard_error(indexed: Run, arguments: list[str], message: str) -> None:
    result = indexed(*arguments)

    assert result.exit_code == 1
    last_line = result.stderr.splitlines()[-1]
    assert last_line.startswith("error: ")
    assert message in last_line
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["search"],
        ["search", "keys", "--mode", "best"],
        ["search", "keys", "--where", "lang"],
        ["search", "keys", "--where", "{lang}"],
        ["delete"],
        ["delete", "a", "--where", "lang=en"],
        ["delete", "a", "--json"],
        ["index"],
    ],
)
def test_a_wrong_use_ends_with_code_2(indexed: Run, arguments: list[str]) -> None:
    assert indexed(*arguments).exit_code == 2


def test_version_is_the_package_version(run: Run) -> None:
    import tercet

    assert run("--version").stdout == f"tercet {tercet.__version__}\n"


def test_starting_up_imports_no_engine_and_no_model() -> None:
    heavy = ("numpy", "onnxruntime", "qdrant_edge", "qdrant_client", "tokenizers", "torch", "selectolax")
    program = f"import sys, tercet.cli; print([name for name in {heavy} if name in sys.modules])"

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"
