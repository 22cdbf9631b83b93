"""The page of examples/07_why_splade.py, made as a user makes it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tercet.encoders.mini import MiniEncoder
from tests.explaining.browser import photograph, share_of

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def mini() -> MiniEncoder:
    return MiniEncoder(threads=1)


def test_the_example_writes_a_page_that_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "07_why_splade.py"), "heart attack treatment protocol", str(page)],
        check=True,
        capture_output=True,
        text=True,
    )

    html = page.read_text(encoding="utf-8")
    assert "hybrid (tercet)" in done.stdout
    assert "7. Why mi-discharge stands where it stands" in html
    assert "<script" not in html
    assert " src=" not in html
    picture = photograph(html, tmp_path, height=5000)
    assert all(share_of(ink, picture) > 0.0005 for ink in ("#3b6fd4", "#c2571a", "#0f8a74"))


@pytest.mark.parametrize("query", ["heart attack treatment protocol", "network protocol"])
def test_the_maximum_of_what_each_word_brings_in_is_the_sparse_vector(mini: MiniEncoder, query: str) -> None:
    greatest: dict[str, float] = {}
    for _, terms in mini.query_activations(query, k=1000):
        for term, weight in terms:
            greatest[term] = max(weight, greatest.get(term, 0.0))

    sparse = mini.encode_query(query).sparse
    assert greatest == pytest.approx(
        dict(zip(mini.terms(sparse.indices), sparse.values.tolist(), strict=True)), abs=1e-4
    )


def test_static_neighbours_are_the_nearest_rows_of_the_embedding_matrix(mini: MiniEncoder) -> None:
    weights = mini.checkpoint.weights()
    rows = weights["embeddings.word"] * weights["embeddings.word.scale"].reshape(-1, 1)
    [heart] = [token.token_id for token in mini.query_tokens("heart").sparse]
    cosines = rows @ rows[heart] / (np.linalg.norm(rows, axis=1) * np.linalg.norm(rows[heart]) + 1e-12)
    expected = [int(row) for row in np.argsort(-cosines)[1:4]]

    found = mini.static_neighbours(heart, k=3)
    assert [term for term, _ in found] == mini.terms(expected)
    assert [cosine for _, cosine in found] == pytest.approx(cosines[expected].tolist(), abs=1e-5)
