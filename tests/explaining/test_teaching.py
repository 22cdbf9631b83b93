"""The page of examples/07_why_splade.py, made as a user makes it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tercet.checkpoint import Precision
from tercet.encoders.mini import MiniEncoder
from tercet.models.load import NEVER
from tercet.training.model import ThreeHeads
from tests import tiny
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
    assert "8. Why mi-discharge stands where it stands" in html
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


@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-4), ("int8", 0.02)])
def test_a_hidden_words_guesses_are_the_heads_softmax_at_its_mask(
    tiny_checkpoint: Path, precision: Precision, tolerance: float
) -> None:
    encoder, model = MiniEncoder(tiny_checkpoint, precision=precision), ThreeHeads.open(tiny_checkpoint)
    said = model.sparse.bias > NEVER / 2
    # "zig" is no word of the vocabulary: z ##i ##g, for which one [MASK] stands
    predictions = encoder.masked_word_predictions("cat zig!", k=3)

    assert [word.word for word in predictions] == ["cat", "zig", "!"]
    for word, masked in zip(predictions, ("[MASK] z ##i ##g !", "cat [MASK] !", "cat z ##i ##g [MASK]"), strict=True):
        ids = torch.tensor([tiny.VOCABULARY.index(term) for term in ("[CLS]", *masked.split(), "[SEP]")])[None]
        with torch.inference_mode():
            states = model.token_states(ids, torch.ones_like(ids, dtype=torch.bool))[0, 1:-1]
            projected, _ = model.sparse.token_terms(states, ids[0, 1:-1], [len(states)])
            logits = projected[masked.split().index("[MASK]")] @ model.sparse.decoder.T + model.sparse.bias
            shares = logits.masked_fill(~said, -torch.inf).softmax(dim=0)
        values = dict(zip(tiny.VOCABULARY, shares.tolist(), strict=True))

        assert [share for _, share in word.guesses] == sorted((share for _, share in word.guesses), reverse=True)
        for term, share in word.guesses:
            assert share == pytest.approx(values[term], abs=tolerance)
        assert word.guesses[0][1] == pytest.approx(max(values.values()), abs=tolerance)
        single = word.word == "cat"
        assert word.probability == (pytest.approx(values["cat"], abs=tolerance) if single else None)


def test_a_query_without_words_has_nothing_to_hide(mini: MiniEncoder) -> None:
    assert mini.masked_word_predictions(" ") == []


def test_static_neighbours_are_the_nearest_rows_of_the_embedding_matrix(mini: MiniEncoder) -> None:
    weights = mini.checkpoint.weights()
    rows = weights["embeddings.word"] * weights["embeddings.word.scale"].reshape(-1, 1)
    [heart] = [token.token_id for token in mini.query_tokens("heart").sparse]
    cosines = rows @ rows[heart] / (np.linalg.norm(rows, axis=1) * np.linalg.norm(rows[heart]) + 1e-12)
    expected = [int(row) for row in np.argsort(-cosines)[1:4]]

    found = mini.static_neighbours(heart, k=3)
    assert [term for term, _ in found] == mini.terms(expected)
    assert [cosine for _, cosine in found] == pytest.approx(cosines[expected].tolist(), abs=1e-5)
