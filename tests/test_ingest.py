import json
from pathlib import Path

import pytest

from tercet import HybridIndex
from tercet.errors import UnreadableFile
from tercet.ingest import index_paths
from tercet.types import MAX_TEXT_BYTES
from tests.toys import ToyEncoder

GUIDE = "# Keys\n\nRotate the keys.\n\n# Vault\n\nThe vault stores secrets.\n"


@pytest.fixture
def index(toy_encoder: ToyEncoder) -> HybridIndex:
    return HybridIndex.in_memory(encoder=toy_encoder)


def test_a_passage_that_its_file_no_longer_has_is_removed(index: HybridIndex, tmp_path: Path) -> None:
    guide, other = tmp_path / "guide.md", tmp_path / "other.md"
    guide.write_text(GUIDE)
    other.write_text("# Other\n\nStays as it is.\n")
    index_paths(index, [tmp_path])
    guide.write_text("# Keys\n\nRotate the keys.\n")

    report = index_paths(index, [tmp_path])

    assert report.removed == (f"{guide.as_posix()}#vault/1",)
    assert len(report.indexed.skipped) == 2
    assert index.count() == 2


def test_a_file_that_is_not_read_again_keeps_its_passages(index: HybridIndex, tmp_path: Path) -> None:
    guide, other = tmp_path / "guide.md", tmp_path / "other.md"
    guide.write_text(GUIDE)
    other.write_text("Other words.")
    index_paths(index, [tmp_path])
    guide.unlink()

    assert index_paths(index, [other]).removed == ()
    assert index.count({"source": guide.as_posix()}) == 2


def test_a_records_own_source_is_never_a_reason_to_remove(index: HybridIndex, tmp_path: Path) -> None:
    records, guide = tmp_path / "records.jsonl", tmp_path / "guide.md"
    guide.write_text(GUIDE)
    records.write_text('{"id": "r", "text": "a record", "source": "%s"}\n' % guide.as_posix())  # noqa: UP031
    index_paths(index, [records])

    assert index_paths(index, [guide]).removed == ()
    assert [document.id for document in index.get(["r"])] == ["r"]


def test_an_exported_passage_stands_for_itself_and_not_for_its_file(index: HybridIndex, tmp_path: Path) -> None:
    guide, export = tmp_path / "guide.md", tmp_path / "export.jsonl"
    guide.write_text(GUIDE)
    index_paths(index, [guide])
    [passage] = index.get([f"{guide.as_posix()}#keys/1"])
    export.write_text(json.dumps({"id": passage.id, "text": passage.text, "metadata": passage.metadata}))

    assert index_paths(index, [export]).removed == ()
    assert index.count() == 2


def test_a_file_that_is_empty_now_loses_its_passages(index: HybridIndex, tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text(GUIDE)
    index_paths(index, [guide])
    guide.write_text("")

    assert len(index_paths(index, [guide]).removed) == 2
    assert index.count() == 0


def test_a_file_whose_reading_breaks_off_keeps_its_passages(index: HybridIndex, tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text(GUIDE)
    index_paths(index, [guide])
    too_long = "x" * (MAX_TEXT_BYTES + 1)
    guide.write_text(f"# Keys\n\nRotate the keys.\n\n# {too_long}\n\nWords.\n\n# Vault\n\nThe vault.\n")

    report = index_paths(index, [guide])

    assert [skip.is_problem for skip in report.skips] == [True]
    assert report.removed == ()
    assert index.count() == 2


def test_files_of_one_name_in_two_folders_are_two_files(
    toy_encoder: ToyEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for project in ("one", "two"):
        (tmp_path / project).mkdir()
        (tmp_path / project / "README.md").write_text(f"# Project {project}\n\nWords.\n")
    with HybridIndex.open(tmp_path / "one" / "kb", encoder=toy_encoder) as index:
        for project in ("one", "two", "one"):
            monkeypatch.chdir(tmp_path / project)
            assert index_paths(index, ["README.md"]).removed == ()

        # Below the folder of the index a path is short; elsewhere it is absolute.
        sources = {document.metadata["source"] for document in index.scroll()}
        assert sources == {"README.md", f"{tmp_path.as_posix()}/two/README.md"}


def test_a_file_has_one_name_however_it_is_reached(
    index: HybridIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text(GUIDE)
    (tmp_path / "link").symlink_to(tmp_path / "docs")
    monkeypatch.chdir(tmp_path / "docs")

    for path in ("guide.md", "../docs", tmp_path / "docs", tmp_path / "link"):
        index_paths(index, [path], root=tmp_path)

    assert {document.id for document in index.scroll()} == {"docs/guide.md#keys/1", "docs/guide.md#vault/1"}


def test_what_cannot_be_read_is_told_or_raised(index: HybridIndex, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "good.txt").write_text("good words")

    report = index_paths(index, [tmp_path])
    assert [skip.is_problem for skip in report.skips] == [True]
    assert index.count() == 1
    with pytest.raises(UnreadableFile, match=r"latin\.txt"):
        index_paths(index, [tmp_path], on_error="raise")
