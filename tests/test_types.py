import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tercet.errors import InvalidDocument
from tercet.store.edge import EdgeStore
from tercet.types import (
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    MAX_TEXT_BYTES,
    Document,
    Embedding,
    Hit,
    MultiVector,
    Record,
    SparseVector,
    StageScore,
    TermMatch,
    ranked,
)
from tests.toys import ToyEncoder


def sparse(indices: list[int], values: list[float]) -> SparseVector:
    return SparseVector(np.array(indices), np.array(values, np.float32))


def nested(levels: int, kind: type) -> dict[str, Any]:
    """Metadata of so many levels, the outermost dict being the first."""
    value: Any = 1
    for _ in range(levels - 1):
        value = {"a": value} if kind is dict else [value]
    return {"a": value}


class TestDocument:
    def test_same_text_and_metadata_have_the_same_id(self) -> None:
        assert Document("a", metadata={"x": 1, "y": 2}).id == Document("a", metadata={"y": 2, "x": 1}).id

    def test_the_same_text_in_two_tenants_is_two_documents(self) -> None:
        assert Document("a", metadata={"tenant": "x"}).id != Document("a", metadata={"tenant": "y"}).id

    def test_content_hash_changes_with_metadata_and_not_with_id(self) -> None:
        assert Document("a", "1").content_hash() == Document("a", "2").content_hash()
        assert Document("a", "1", {"x": 1}).content_hash() != Document("a", "1", {"x": 2}).content_hash()

    @pytest.mark.parametrize(
        ("text", "metadata", "message"),
        [
            ("  \n", {}, "empty text"),
            ("lone \ud800", {}, "lone surrogate at character 5"),
            ("x" * (MAX_TEXT_BYTES + 1), {}, "split it into passages"),
            (7, {}, "must be a str, got int"),
            ("a", {"x": math.nan}, "'x' of document 'd' is nan"),
            ("a", {"x": [1, {"y": math.inf}]}, r"'x\[1\].y' of document 'd' is inf"),
            ("a", {"x": {1, 2}}, "is a set"),
            ("a", {1: 2}, "metadata key of document 'd' must be a str, got int"),
            ("a", {"x": {"y": "\udfff"}}, "lone surrogate"),
            ("a", {"x": 2**63}, "64 bits"),
            ("a", {"x": 10**5000}, "64 bits"),
            ("a", {10**5000: 1}, "must be a str, got int"),
            ("a", {"x": "é" * (MAX_METADATA_BYTES // 2)}, "1,048,585 bytes of metadata, at most 1,048,576"),
            ("a", [("x", 1)], "must be a dict, got list"),
        ],
    )
    def test_what_cannot_be_indexed_says_why(self, text: object, metadata: object, message: str) -> None:
        with pytest.raises(InvalidDocument, match=message):
            Document(text, "d", metadata)  # type: ignore[arg-type]

    @pytest.mark.parametrize("kind", [dict, list])
    @pytest.mark.parametrize("levels", [MAX_METADATA_DEPTH + 1, 3000])
    def test_metadata_nested_too_deeply_are_refused(self, levels: int, kind: type) -> None:
        with pytest.raises(InvalidDocument, match="more than 64 deep"):
            Document("a", "d", nested(levels, kind))

    def test_metadata_that_hold_themselves_are_refused(self) -> None:
        metadata: dict[str, Any] = {}
        metadata["self"] = metadata

        with pytest.raises(InvalidDocument, match="hold themselves"):
            Document("a", "d", metadata)

    @pytest.mark.parametrize("kind", [dict, list])
    def test_the_deepest_metadata_come_back_from_an_index_that_is_opened_again(
        self, tmp_path: Path, toy_encoder: ToyEncoder, kind: type
    ) -> None:
        document = Document("a", "d", nested(MAX_METADATA_DEPTH, kind))
        with closing(EdgeStore.open(tmp_path / "kb", toy_encoder.spec)) as store:
            [embedding] = toy_encoder.encode_documents(["a"])
            store.upsert([Record(document, embedding, document.content_hash())])

        with closing(EdgeStore.open(tmp_path / "kb", toy_encoder.spec)) as store:
            assert store.read([store.key("d")])[store.key("d")].document == document

    def test_metadata_up_to_the_limit_are_kept(self) -> None:
        metadata = {"x": "y" * (MAX_METADATA_BYTES - len('{"x": ""}'))}

        assert Document("a", "d", metadata).metadata == metadata

    def test_what_happens_to_the_callers_metadata_changes_no_document(self) -> None:
        metadata: dict[str, Any] = {"page": 1, "author": {"names": ["Ada"]}}
        document = Document("a", "d", metadata)
        metadata["page"] = 2
        metadata["author"]["names"].append("Mary")

        assert document.metadata == {"page": 1, "author": {"names": ["Ada"]}}

    def test_tuples_of_metadata_become_lists_as_in_json(self) -> None:
        assert Document("a", metadata={"x": (1, (2,))}) == Document("a", metadata={"x": [1, [2]]})

    def test_documents_can_stand_in_a_set(self) -> None:
        assert len({Document("a", metadata={"x": [1]}), Document("a", metadata={"x": [1]}), Document("b")}) == 2


class TestVectors:
    def test_dot_counts_shared_terms_only(self) -> None:
        assert sparse([1, 3, 9], [1, 2, 3]).dot(sparse([3, 4, 9], [0.5, 7, 2])) == 2 * 0.5 + 3 * 2

    @pytest.mark.parametrize(
        ("indices", "values"),
        [([2, 1], [1, 1]), ([1, 1], [1, 1]), ([-1], [1]), ([1], [0]), ([1], [math.nan]), ([1, 2], [1])],
    )
    def test_a_sparse_vector_is_checked_when_made(self, indices: list[int], values: list[float]) -> None:
        with pytest.raises(ValueError, match="sparse vector"):
            sparse(indices, values)

    @pytest.mark.parametrize("rows", [[[3.0, 4.0]], [[math.nan, 1.0]], [[0.0, 0.0]]])
    def test_a_multi_vector_has_finite_unit_rows(self, rows: list[list[float]]) -> None:
        with pytest.raises(ValueError, match="length 1"):
            MultiVector(np.array(rows, np.float32))

    def test_a_multi_vector_has_a_row(self) -> None:
        with pytest.raises(ValueError, match="at least one row"):
            MultiVector(np.zeros((0, 4), np.float32))

    def test_a_dense_vector_has_length_one(self) -> None:
        with pytest.raises(ValueError, match="dense"):
            Embedding(np.array([3.0, 4.0], np.float32), sparse([], []), MultiVector(np.ones((1, 1), np.float32)))


def test_equal_scores_are_ordered_by_id() -> None:
    assert [scored.id for scored in ranked({"b": 1.0, "a": 1.0, "c": 2.0}, limit=2)] == ["c", "a"]


def test_a_hit_gives_its_reason_in_one_line() -> None:
    stages = (StageScore("dense", 3, 0.27), StageScore("late", 1, 4.2))
    hit = Hit(Document("t", "d"), 0.1, stages, (TermMatch("key", 2.0, 1.5),))

    assert hit.reason == "dense #3 · late #1 · terms: key"
    assert hit.why[0].contribution == 3.0
