from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tercet.cli import app
from tercet.demo import QUESTIONS, run_demo
from tercet.index import HybridIndex
from tests.toys import ToyEncoder


def demonstrate(index: HybridIndex, modules: list[str]) -> str:
    output = io.StringIO()
    run_demo(index, Console(file=output, width=120), modules=modules)
    return output.getvalue()


def test_the_demo_answers_every_question_and_shows_why(toy_encoder: ToyEncoder) -> None:
    output = demonstrate(HybridIndex.in_memory(encoder=toy_encoder), ["json", "bisect"])

    assert all(question in output for question in QUESTIONS)
    assert output.count("contribution") == len(QUESTIONS)
    assert "A question took" in output


def test_a_second_run_of_the_demo_encodes_no_document(toy_encoder: ToyEncoder) -> None:
    index = HybridIndex.in_memory(encoder=toy_encoder)
    demonstrate(index, ["json"])
    toy_encoder.encoded.clear()

    assert "0 of them indexed" in demonstrate(index, ["json"])
    assert toy_encoder.encoded == []


def test_a_demo_of_an_unknown_module_says_so(toy_encoder: ToyEncoder) -> None:
    with pytest.raises(ValueError, match="no documented modules among jsno"):
        demonstrate(HybridIndex.in_memory(encoder=toy_encoder), ["jsno"])


def test_the_demo_runs_from_the_command_line(tmp_path: Path, toy_encoder: ToyEncoder) -> None:
    arguments = ["demo", "--into", str(tmp_path / "kb"), "--modules", "json", "--modules", "bisect"]

    result = CliRunner().invoke(app, arguments, obj=toy_encoder)

    assert result.exit_code == 0, result.output
    assert "json.dumps" in result.stdout or "json.loads" in result.stdout
