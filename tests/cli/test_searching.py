from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import Run, ids_found


def test_index_tells_what_it_did_and_does_it_once(run: Run) -> None:
    Path("a.txt").write_text("Rotate keys daily.")

    first, second = run("index", "a.txt"), run("index", "a.txt")

    assert "1 added, 0 updated, 0 unchanged, 0 failed" in first.stdout
    assert "0 added, 0 updated, 1 unchanged, 0 failed" in second.stdout


def test_index_names_what_failed_and_counts_what_was_passed_over(run: Run) -> None:
    Path("docs").mkdir()
    for number in range(12):
        Path(f"docs/{number:02}.txt").write_bytes(b"caf\xe9")
    Path("docs/x.py").write_text("pass")
    Path("docs/y.txt").write_text("text")

    result = run("index", "docs")

    assert result.exit_code == 0
    assert "unreadable: docs/09.txt: is not UTF-8 (byte 3)" in result.stdout
    assert "docs/10.txt" not in result.stdout
    assert "and 2 more" in result.stdout
    assert "passed over: 1 not of a kind that is read (.py)" in result.stdout


def test_index_reads_jsonl_from_standard_input(run: Run) -> None:
    result = run("index", "-", "--json", stdin='{"id": "a", "text": "hello"}\nbad\n')

    report = json.loads(result.stdout)
    assert report["added"] == 1
    assert report["unreadable"][0]["reason"].startswith("1 bad line, line 2")


def test_strict_stops_at_the_first_bad_line(run: Run) -> None:
    Path("a.jsonl").write_text('{"text": "hello"}\nbad\n')

    result = run("index", "a.jsonl", "--strict")

    assert result.exit_code == 1
    assert result.stderr.startswith("error: a.jsonl:2: Expecting value")


def test_files_that_all_fail_are_not_called_missing(run: Run) -> None:
    Path("latin.txt").write_bytes(b"caf\xe9")

    result = run("index", "latin.txt")

    assert result.exit_code == 1
    assert "error: no document could be indexed of what was found in latin.txt" in result.stderr


def test_index_of_a_file_that_was_emptied_succeeds(run: Run) -> None:
    Path("a.txt").write_text("Rotate keys daily.")
    run("index", "a.txt")
    Path("a.txt").write_text("")

    result = run("index", "a.txt")

    assert (result.exit_code, "1 removed" in result.stdout) == (0, True)


def test_root_names_files_relative_to_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("keys")
    run("index", "docs", "--root", "docs")

    assert ids_found(run("search", "keys", "--json")) == ["a.txt#1"]


def test_search_shows_the_id_the_text_and_the_reason(indexed: Run) -> None:
    result = indexed("search", "rotation of keys", "-k", "1")

    assert "1. docs/keys.md#rotation/1" in result.stdout
    assert "Keys > Rotation" in result.stdout
    assert "Rotate keys daily." in result.stdout
    assert "sparse #1" in result.stdout
    assert "terms: " in result.stdout


def test_search_explains_every_stage_and_term(indexed: Run) -> None:
    result = indexed("search", "rotation", "-k", "1", "--explain")

    words = result.stdout.split()
    assert {"stage", "dense", "sparse", "fused", "late", "product"} <= set(words)
    assert "rotation 1.000 1.000 1.000" in " ".join(words)


def test_search_as_json_is_one_object_with_the_whole_trace(indexed: Run) -> None:
    result = indexed("search", "vault", "--json", "-k", "1")

    [hit] = json.loads(result.stdout)["hits"]
    assert hit["text"] == "Keys > Storage\nKeep them in a vault."
    assert {stage["stage"] for stage in hit["stages"]} == {"dense", "sparse", "fused", "late"}
    assert hit["why"] == [{"term": "vault", "query_weight": 1.0, "document_weight": 1.0, "contribution": 1.0}]


def test_a_search_with_explain_has_every_part_as_json(indexed: Run) -> None:
    hit = json.loads(indexed("search", "rotate keys", "-k", "1", "--explain", "--json").stdout)["hits"][0]

    assert sum(stage["contribution"] for stage in hit["explanation"]["stages"]) == pytest.approx(hit["score"])


@pytest.mark.parametrize(
    "where",
    [
        ["--where", "source=docs/roles.md"],
        ["--where", '{"source": "docs/roles.md"}'],
        ["--where", '{"source": {"ne": "docs/keys.md"}}'],
        ["--where", "title=Roles", "--where", '{"start": {"gte": 0}}'],
        ["--where", "start=9"],
    ],
)
def test_search_filters_by_metadata(indexed: Run, where: list[str]) -> None:
    assert ids_found(indexed("search", "keys", "--json", *where)) == ["docs/roles.md#roles/1"]


def test_a_condition_matches_the_cells_of_a_csv_which_are_strings(run: Run) -> None:
    Path("a.csv").write_text("id,text,year,flag\na,keys,2024,true\nb,keys,2025,false\n")
    Path("b.jsonl").write_text('{"id": "c", "text": "keys", "year": 2024, "flag": true}\n')
    run("index", "a.csv", "b.jsonl")

    assert sorted(ids_found(run("search", "keys", "--json", "--where", "year=2024"))) == ["a", "c"]
    assert sorted(ids_found(run("search", "keys", "--json", "--where", "flag=true"))) == ["a", "c"]
    assert ids_found(run("search", "keys", "--json", "--where", "year=NaN")) == []


def test_a_quoted_number_stays_a_string(indexed: Run) -> None:
    assert ids_found(indexed("search", "keys", "--json", "--where", 'start="9"')) == []


def test_the_modes_differ_in_the_score_that_orders(indexed: Run) -> None:
    [fused] = json.loads(indexed("search", "vault", "--json", "-k", "1").stdout)["hits"]
    [cascade] = json.loads(indexed("search", "vault", "--json", "-k", "1", "--mode", "cascade").stdout)["hits"]

    late = next(stage["score"] for stage in cascade["stages"] if stage["stage"] == "late")
    assert cascade["score"] == late != fused["score"]


def test_what_a_document_says_is_shown_and_not_obeyed(run: Run) -> None:
    Path("a.jsonl").write_text(json.dumps({"id": "[red]a", "text": "[bold]keys[/bold] \x1b[31mred \x9b31m"}))
    run("index", "a.jsonl")

    result = run("search", "keys")

    assert "[red]a" in result.stdout
    assert "[bold]keys[/bold]" in result.stdout
    assert not {"\x1b", "\x9b"} & set(result.stdout)
