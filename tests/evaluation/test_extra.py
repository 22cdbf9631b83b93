from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tercet import HybridIndex
from tercet.errors import MissingExtra
from tercet.evaluation import JudgedCollection, evaluate, score
from tercet.evaluation.bm25 import bm25_run
from tercet.evaluation.report import save_plot
from tercet.evaluation.significance import paired_difference
from tercet.types import Document, Scored


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("ir_measures", lambda: score({"q": [Scored("a", 1.0)]}, {"q": {"a": 1}})),
        ("scipy", lambda: paired_difference({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0})),
        ("bm25s", lambda: bm25_run([Document("a")], {"q": "a"})),
        ("Stemmer", lambda: bm25_run([Document("a")], {"q": "a"})),
    ],
)
def test_a_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, package: str, use: Callable[[], object]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtra, match=r"pip install 'tercet\[evaluation\]'"):
        use()


def test_only_a_plot_needs_matplotlib(
    monkeypatch: pytest.MonkeyPatch, index: HybridIndex, collection: JudgedCollection, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    evaluation = evaluate(index, collection, timed_queries=0)

    with pytest.raises(MissingExtra, match="a plot needs"):
        save_plot(evaluation, tmp_path / "a.svg")


def test_importing_the_package_imports_none_of_them() -> None:
    code = "import sys, tercet.evaluation; print({'ir_measures', 'scipy', 'bm25s', 'matplotlib'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
