"""docs/comparison.md says what the committed results say, and the results what the stores do."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
#: Checks without processes and many documents: those that are asked again here.
QUICK = (
    "any string as id",
    "hits carry their id",
    "metadata come back as they went in",
    "adding under a known id replaces",
    "delete by id",
    "`add_texts` from a generator stores",
    "`delete()` or `delete_nodes()` that names nothing",
    "LlamaIndex's 14 operators, answered right",
    "a filter that is empty",
    "MMR: 1 is nearest, 0 most diverse",
    "scores of the single stages on a hit",
)


@pytest.fixture(scope="module")
def compare() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import compare

        yield compare
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def encoder(compare: Any) -> Any:
    return compare.RememberingEncoder()


def test_every_cell_is_a_committed_result(compare: Any) -> None:
    markers = re.findall(r"<!-- (\w+) -->", DOCUMENT)

    assert sorted(markers) == sorted(compare.TABLES)
    assert compare.filled(DOCUMENT, compare.TABLES) == DOCUMENT


def test_every_check_was_made_of_every_store(compare: Any) -> None:
    result = compare.load("compare")["checks"]
    columns = [kind.column for kind in compare.contestants.CONTESTANTS]

    assert {group: list(rows) for group, rows in result.items()} == {
        group: [row.label for row in rows] for group, rows in compare.checks.ROWS.items()
    }
    assert all(list(cells) == columns for rows in result.values() for cells in rows.values())


def test_results_name_no_place_of_the_machine(compare: Any) -> None:
    texts = [path.read_text(encoding="utf-8") for path in compare.machine.RESULTS.glob("compare*.json")]

    assert len(texts) == 2
    assert [text for text in texts if re.search(r"/(work|tmp|home|root|usr)/", text)] == []


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
@pytest.mark.parametrize("label", QUICK)
def test_the_stores_still_answer_as_the_table_says(label: str, compare: Any, encoder: Any) -> None:
    result = compare.load("compare")["checks"]
    [(check, told)] = [
        (row.check, result[group][label])
        for group, rows in compare.checks.ROWS.items()
        for row in rows
        if row.label == label
    ]

    assert {kind.column: compare.checks.cell(check, kind(encoder)) for kind in compare.contestants.CONTESTANTS} == told
