"""What the README says is run, not believed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = [
    README,
    *(
        (ROOT / "docs" / name).read_text(encoding="utf-8")
        for name in ("evaluation.md", "explanations.md", "storage.md")
    ),
]
BLOCKS = [block for page in RUN for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{number}" for number in range(len(BLOCKS))])
def test_every_python_block_runs(block: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", block], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_figure_is_a_committed_result() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import tables
    finally:
        sys.path.pop(0)
    pages = [page.read_text(encoding="utf-8") for page in tables.PAGES]
    markers = [marker for page in pages for marker in re.findall(r"<!-- (\w+) -->", page)]

    assert sorted(markers) == sorted(tables.TABLES)
    assert [tables.filled(page) for page in pages] == pages


def test_the_make_targets_it_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

    assert set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE)) == {"demo", "test"} <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", document.read_text(encoding="utf-8"))]

    assert [link for link in links if link and "://" not in link and not (document.parent / link).exists()] == []
