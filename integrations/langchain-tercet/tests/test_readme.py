"""Every Python block of the README runs, one after the other, and prints what stands below it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_every_block_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    try:
        for block in BLOCKS:
            exec(compile(block, str(README), "exec"), names)
            expected = re.findall(r"^# → (.*)$", block, re.MULTILINE)
            assert capsys.readouterr().out.splitlines() == expected
    finally:
        for name in ("store", "own"):
            if name in names:
                names[name].index.close()
        if "plain_qdrant" in names:
            names["plain_qdrant"].client.close()
    assert len(BLOCKS) >= 10
