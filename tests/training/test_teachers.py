"""Teachers on tiny seeded models: each scores as its own library does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import SpladePooling
from transformers import BertConfig, BertForSequenceClassification

from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.training.data import Example
from tercet.training.teachers import CrossEncoderTeacher, EncoderTeacher, label, load_teacher
from tests import tiny

PAIRS = [("cat dog", "the cat sat"), ("red apple", "green pear"), ("cat dog", "green pear"), ("mat", "the cat sat")]


def test_a_dense_model_scores_by_its_own_similarity(tiny_trunk: Path, tmp_path: Path) -> None:
    transformer = Transformer(str(tiny_trunk))
    model = SentenceTransformer(modules=[transformer, Pooling(32)])
    model.save(str(tmp_path / "dense"))
    expected = [model.similarity(model.encode([q]), model.encode([d])).item() for q, d in PAIRS]
    teacher = load_teacher(tmp_path / "dense")

    assert isinstance(teacher, EncoderTeacher)
    assert teacher.score(PAIRS).tolist() == pytest.approx(expected, abs=1e-5)


def test_a_splade_scores_by_its_own_similarity(tmp_path: Path) -> None:
    trunk = tiny.write_trunk(tmp_path / "mlm", masked_language_model=True)
    transformer = Transformer(str(trunk), transformer_task="fill-mask")
    model = SparseEncoder(modules=[transformer, SpladePooling("max")])
    model.save(str(tmp_path / "sparse"))
    expected = [
        float(model.encode([q], convert_to_sparse_tensor=False) @ model.encode([d], convert_to_sparse_tensor=False).T)
        for q, d in PAIRS
    ]

    assert load_teacher(tmp_path / "sparse").score(PAIRS).tolist() == pytest.approx(expected, rel=1e-4)


def test_a_cross_encoder_gives_logits(tiny_trunk: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(tiny_trunk, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "cross")
    for file in tiny_trunk.glob("tokenizer*"):
        (tmp_path / "cross" / file.name).write_bytes(file.read_bytes())
    teacher = load_teacher(tmp_path / "cross")
    theirs = CrossEncoder(str(tmp_path / "cross")).predict(PAIRS)

    assert isinstance(teacher, CrossEncoderTeacher)
    assert 1 / (1 + np.exp(-teacher.score(PAIRS))) == pytest.approx(theirs, abs=1e-5)


def test_the_sum_of_our_heads_is_that_of_the_runtime(toy_model: Path) -> None:
    encoder = MiniEncoder(toy_model, precision="f32")

    def by_hand(query: str, document: str) -> float:
        asked, [held] = encoder.encode_query(query), list(encoder.encode_documents([document]))
        weights = dict(zip(held.sparse.indices.tolist(), held.sparse.values.tolist(), strict=True))
        sparse = sum(
            value * weights.get(index, 0.0)
            for index, value in zip(asked.sparse.indices.tolist(), asked.sparse.values.tolist(), strict=True)
        )
        late = (asked.multi_vector.vectors @ held.multi_vector.vectors.T).max(axis=1).sum()
        return float(20 * asked.dense @ held.dense + sparse + 3 * late)

    assert load_teacher(toy_model).score(PAIRS) == pytest.approx([by_hand(*pair) for pair in PAIRS], rel=1e-2)


def test_labels_are_the_positives_then_each_negatives() -> None:
    class Lengths:
        def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
            return np.array([len(document) for _, document in pairs], np.float32)

    labelled = label([Example("q", "abc", ("a", "ab")), Example("r", "abcd")], Lengths())

    assert [example.scores for example in labelled] == [(3, 1, 2), (4,)]


def test_a_teacher_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no folder 'some/model'; for a model on a hub say its kind"):
        load_teacher("some/model")
    with pytest.raises(CheckpointError, match="cannot be opened as SentenceTransformer"):
        load_teacher(tmp_path)
    wrong: Any = "bm25"
    with pytest.raises(ValueError, match="kind must be one of"):
        load_teacher("some/model", kind=wrong)
