from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tercet.cli import app
from tests.evaluation.samples import QUERIES, write_folder
from tests.toys import ToyEncoder


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], obj=ToyEncoder(), env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_folder(tmp_path / "small")


def test_evaluate_measures_every_stage_of_a_folder_and_leaves_nothing_behind(folder: Path) -> None:
    result = run("evaluate", folder)

    assert result.exit_code == 0, result.stderr
    assert "small: 3 judged queries, 5 documents" in result.stdout
    for name in ("BM25", "dense", "sparse", "fused (dense + sparse)", "late on the pool", "final"):
        assert f"\n{name} " in result.stdout
    assert list(folder.parent.iterdir()) == [folder]


def test_evaluate_writes_reports_and_runs_and_compare_reads_them(folder: Path) -> None:
    result = run("evaluate", folder, "--write", "a.md", "--write", "a.json", "--write-runs", "runs", "--json")

    assert (
        json.loads(result.stdout)["systems"]["final"]["scores"]
        == json.loads(Path("a.json").read_text())["systems"]["final"]["scores"]
    )
    assert Path("a.md").read_text().startswith("# small")
    compared = run("compare", "runs/BM25.trec", "runs/final.trec", "--qrels", folder)
    assert compared.exit_code == 0, compared.stderr
    assert "nDCG@10 over 3 queries" in compared.stdout


def test_evaluate_can_keep_its_index_or_take_one(folder: Path) -> None:
    kept = json.loads(run("evaluate", folder, "--into", "kb", "--json", "--timed-queries", "0").stdout)
    judgements = ("--queries", folder / "queries.jsonl", "--qrels", folder / "qrels.tsv")

    taken = json.loads(run("evaluate", "--in", "kb", *judgements, "--json", "--timed-queries", "0").stdout)

    assert taken["systems"] == kept["systems"]
    assert taken["sparsity"]["disk_bytes"] is not None


def test_evaluate_takes_other_runs_measures_and_ablations(folder: Path) -> None:
    Path("theirs.trec").write_text("q1 Q0 dog 1 2.0 x\n")

    result = run(
        "evaluate", folder, "--run", "theirs.trec", "--fuse", "--ablations", "--measure", "P@1", "--json",
        "--baseline", "theirs",
    )  # fmt: skip

    systems = json.loads(result.stdout)["systems"]
    assert {"theirs", "final + theirs", "final + BM25", "final without late"} <= systems.keys()
    assert systems["theirs"]["scores"] == {"P@1": pytest.approx(1 / 3)}
    assert systems["theirs"]["difference"] is None


def test_bad_judgements_are_named_in_one_line(folder: Path) -> None:
    with (folder / "qrels.tsv").open("a") as file:
        file.write("q1\tcow\t1\n")

    result = run("evaluate", folder)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {folder}/qrels.tsv:7: judges document 'cow'")
    skipped = run("evaluate", folder, "--skip-errors")
    assert skipped.exit_code == 0
    assert "judges document 'cow'" in skipped.stdout


def test_what_cannot_be_written_is_refused_before_the_work(folder: Path) -> None:
    result = run("evaluate", folder, "--write", "report.docx")

    assert result.exit_code == 1
    assert "got 'report.docx'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either a FOLDER, or both --queries and --qrels"),
        (("small", "--qrels", "small/qrels.tsv"), "give either a FOLDER"),
        (("small", "--in", "kb", "--into", "kb"), "one of --in, --url and --into"),
        (("--queries", "small/queries.jsonl", "--qrels", "small/qrels.tsv"), "there are no documents to index"),
    ],
)
def test_options_that_contradict_are_refused(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run("evaluate", *arguments)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_compare_shows_what_moved_and_explains_it(folder: Path) -> None:
    run("index", folder / "corpus.jsonl", "--into", "kb")
    Path("a.trec").write_text("q1 Q0 pear 1 2 x\nq1 Q0 dog 2 1 x\nq2 Q0 pear 1 1 x\nq3 Q0 keys 1 1 x\n")
    Path("b.trec").write_text("q1 Q0 dog 1 2 x\nq1 Q0 cat 2 1 x\nq2 Q0 pear 1 1 x\nq3 Q0 apple 1 1 x\n")

    result = run("compare", "a.trec", "b.trec", "--qrels", folder, "--in", "kb")

    assert result.exit_code == 0, result.stderr
    assert "dog (grade 2): #2 → #1" in result.stdout
    assert "keys (grade 1): #1 → not found" in result.stdout
    value = json.loads(run("compare", "a.trec", "b.trec", "--qrels", folder, "--in", "kb", "--json").stdout)
    assert value["won"][0]["query"] == "q1"
    assert value["won"][0]["explanation"]["id"] == "dog"
    assert value["lost"][0]["text"] == QUERIES["q3"]


def test_an_explanation_needs_the_texts_of_the_queries(folder: Path) -> None:
    Path("a.trec").write_text("q1 Q0 dog 1 2 x\n")

    result = run("compare", "a.trec", "a.trec", "--qrels", folder / "qrels.tsv", "--in", "kb")

    assert result.exit_code == 2
    assert "--queries" in result.stderr


def test_export_writes_documents_and_queries_and_overwrites_nothing(folder: Path) -> None:
    run("index", folder / "corpus.jsonl", "--into", "kb")

    result = run("export", "v.jsonl", "--for", "anserini", "--in", "kb", "--queries", folder / "queries.jsonl")

    assert result.stdout == "5 documents in v.jsonl, 3 queries in v.jsonl.queries\n"
    assert len(Path("v.jsonl").read_text().splitlines()) == 5
    again = run("export", "v.jsonl", "--for", "anserini", "--in", "kb")
    assert (again.exit_code, "v.jsonl is there already" in again.stderr) == (1, True)
