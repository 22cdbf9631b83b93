"""What docs/models.md shows is run, in its order, on tiny folders that have the names of the page's models."""

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tercet.training.data import write_examples
from tests.cli.commands import invoke
from tests.models import foreign
from tests.training import toy_task

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BLOCK = re.compile(r"```(console|python)\n(.*?)```", flags=re.DOTALL)


def test_the_page_runs(tmp_path: Path) -> None:
    for organisation in ("naver", "answerdotai"):
        (tmp_path / organisation).mkdir()
    foreign.write_splade(tmp_path / "naver" / "splade-v3")
    foreign.write_pylate(tmp_path / "answerdotai" / "answerai-colbert-small-v1")
    write_examples(tmp_path / "pairs.jsonl", toy_task.examples(60))
    printed = []
    with contextlib.chdir(tmp_path):
        for kind, block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
            if kind == "python":
                done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
                printed.append(done.stdout)
                continue
            for line in block.splitlines():
                command = shlex.split(line.removeprefix("$ tercet "))
                if command[0] == "train":
                    command += ["--steps", "2", "--batch-size", "8", "--held-out", "5"]
                result = invoke(*command)
                assert result.exit_code == 0, (line, result.output)

    assert printed == ["rotate the keys of the vault\n", "384 2\n"]
