"""What docs/training.md shows is run, in its order."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def test_the_page_runs(tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import torch\ntorch.set_num_threads(1)\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith('{"query": "swap the oil filter"')
    assert lines[2] == "True"
    assert "brake pad" in lines[3]
    assert re.fullmatch(r"guessed right: \d+% before, \d+% after", lines[4])
    assert [line.split()[0] for line in lines[5:9]] == ["replace", "the", "brake", "pad"]
    assert len(lines) == 11
