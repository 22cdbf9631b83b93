from __future__ import annotations

import pytest

from tercet.progress import Progress


def shown(capsys: pytest.CaptureFixture[str], total: int | None, *, show: bool = True) -> str:
    with Progress("indexing", total=total, show=show) as bar:
        for _ in range(3):
            bar.advance(500, note="2 failed")
    return " ".join(capsys.readouterr().err.split())


def test_a_bar_tells_what_is_done_how_much_of_it_and_how_fast(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    last = shown(capsys, 6000)

    assert "indexing" in last
    assert "1,500 of 6,000 documents" in last
    assert "/s" in last
    assert "2 failed" in last


def test_without_a_total_a_bar_only_counts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    last = shown(capsys, None)

    assert "1,500 documents" in last
    assert " of " not in last


def test_a_bar_that_is_not_shown_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, 6000, show=False) == ""
