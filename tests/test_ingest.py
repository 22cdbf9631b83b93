from pathlib import Path

import pytest

from tercet import HybridIndex
from tercet.errors import UnreadableFile
from tercet.ingest import index_paths
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
    assert len(report.added.skipped) == 2
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


def test_what_cannot_be_read_is_told_or_raised(index: HybridIndex, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "good.txt").write_text("good words")

    report = index_paths(index, [tmp_path])
    assert [skip.is_problem for skip in report.skips] == [True]
    assert index.count() == 1
    with pytest.raises(UnreadableFile, match=r"latin\.txt"):
        index_paths(index, [tmp_path], on_error="raise")
