from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.cli.commands import Run, invoke


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
