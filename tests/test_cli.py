from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tercet.cli import app
from tercet.encoders.mini import MiniEncoder
from tercet.errors import StoreError
from tercet.store.edge import EdgeStore
from tercet.types import Document, Record
from tests.toys import ToyEncoder

Run = Callable[..., Any]


def invoke(*arguments: str, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, arguments, input=stdin, obj=ToyEncoder())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls the command line in a directory of its own, with the toy encoder and the embedded engine."""
    monkeypatch.chdir(tmp_path)
    return invoke


def index_two_files(folder: Path) -> None:
    (folder / "docs").mkdir()
    (folder / "empty").mkdir()
    keys = "# Keys\n\n## Rotation\n\nRotate keys daily.\n\n## Storage\n\nKeep them in a vault.\n"
    (folder / "docs" / "keys.md").write_text(keys)
    (folder / "docs" / "roles.md").write_text("# Roles\n\nAssign roles to people.\n")
    with contextlib.chdir(folder):
        assert invoke("index", "docs").exit_code == 0


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    index_two_files(folder)
    return folder


@pytest.fixture
def indexed(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """As `run`, where two files are indexed; for tests that change nothing."""
    monkeypatch.chdir(shared_folder)
    return invoke


@pytest.fixture
def own_index(run: Run, tmp_path: Path) -> Run:
    """As `indexed`, for tests that change the index."""
    index_two_files(tmp_path)
    return run


def poison(encoder: ToyEncoder) -> Record:
    """What `SparseVector` refuses to be: more indices than values, at which the engine panics and its log breaks."""
    [embedding] = encoder.encode_documents(["rotate the keys"])
    object.__setattr__(embedding.sparse, "values", embedding.sparse.values[:1])
    document = Document("rotate the keys")
    return Record(document, embedding, document.content_hash())


def ids_found(result: Any) -> list[str]:
    return [hit["id"] for hit in json.loads(result.stdout)["hits"]]


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


def test_info_tells_the_model_and_the_size(indexed: Run) -> None:
    information = json.loads(indexed("info", "--json").stdout)

    assert (information["encoder"], information["documents"]) == ("toy", 3)
    assert "toy" in indexed("info").stdout


def test_delete_asks_first(own_index: Run) -> None:
    declined = own_index("delete", "--where", "source=docs/keys.md", stdin="n\n")
    assert (declined.exit_code, json.loads(own_index("info", "--json").stdout)["documents"]) == (1, 3)
    assert "Delete 2 documents?" in declined.stderr

    accepted = own_index("delete", "--where", "source=docs/keys.md", stdin="y\n")
    assert (accepted.exit_code, json.loads(own_index("info", "--json").stdout)["documents"]) == (0, 1)


def test_delete_by_id_counts_what_there_was(own_index: Run) -> None:
    result = own_index("delete", "docs/keys.md#storage/1", "unknown", "--yes", "--json")

    assert json.loads(result.stdout) == {"deleted": 1}
    assert "docs/keys.md#storage/1" not in ids_found(own_index("search", "vault", "--json"))


def test_compact_keeps_every_document(own_index: Run) -> None:
    assert own_index("compact").exit_code == 0
    assert json.loads(own_index("info", "--json").stdout)["documents"] == 3


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


def test_repair_leaves_an_index_that_opens_as_it_is(own_index: Run) -> None:
    result = own_index("repair", "kb", "--yes")

    assert result.stdout == "nothing to repair: kb opens\n"
    assert json.loads(own_index("info", "--json").stdout)["documents"] == 3


def test_repair_asks_first_and_then_makes_the_index_open_again(own_index: Run) -> None:
    encoder = ToyEncoder()
    with closing(EdgeStore.open("kb", encoder.spec)) as store, pytest.raises(StoreError):
        store.upsert([poison(encoder)])
    assert own_index("search", "vault").exit_code == 1

    declined = own_index("repair", "kb", stdin="n\n")
    assert (declined.exit_code, "may be lost" in declined.stderr) == (1, True)
    assert own_index("search", "vault").exit_code == 1

    accepted = own_index("repair", "kb", "--yes")
    assert (accepted.exit_code, accepted.stdout.startswith("repaired; the damaged part lies at")) == (0, True)
    assert ids_found(own_index("search", "vault", "--json", "-k", "1")) == ["docs/keys.md#storage/1"]


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


def test_a_search_with_explain_has_every_part_as_json(indexed: Run) -> None:
    hit = json.loads(indexed("search", "rotate keys", "-k", "1", "--explain", "--json").stdout)["hits"][0]

    assert sum(stage["contribution"] for stage in hit["explanation"]["stages"]) == pytest.approx(hit["score"])


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
