"""The README's blocks are one program, which is run from top to bottom."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_every_block_runs_and_says_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    said = []
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"README.md, block {number}", "exec"), names)
        said.append(capsys.readouterr().out)

    assert len(said) == 10
    assert all(said)
    assert said[0].startswith("keys ")
    assert "('late', " in said[1]
    assert "['keys', 'clés']" in said[3]
    assert "['lost']" in said[3]
    assert "Rotate the signing keys" in said[4]
    assert said[5].count("The cafeteria serves soup at noon.") == 4
    assert "Lost keys are reported" in said[7].splitlines()[0]
    assert said[8] == "['The door code of acme is secret.']\n"
