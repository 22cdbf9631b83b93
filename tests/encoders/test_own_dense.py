from __future__ import annotations

import numpy as np
import pytest

from tercet import HybridIndex, SearchPlan
from tercet.encoders.own_dense import WINDOW, OwnDense
from tests.toys import ToyEncoder


def letters(text: str) -> list[float]:
    """How often each of three letters stands in a text; not of length 1."""
    return [1.0 + text.count(letter) for letter in "abc"]


class Service:
    """Counts what it is asked, as whoever pays would."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def embed_query(self, query: str) -> list[float]:
        self.calls.append([query])
        return letters(query)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(texts)
        return [letters(text) for text in texts]


def encoder(service: Service, name: str = "letters-1", dim: int | None = 3) -> OwnDense:
    return OwnDense(
        ToyEncoder(), embed_query=service.embed_query, embed_documents=service.embed_documents, name=name, dim=dim
    )


def test_dense_is_the_callers_and_the_rest_is_ours() -> None:
    own, toy = encoder(Service()), ToyEncoder()
    [embedding] = own.encode_documents(["abba c"])
    [ours] = toy.encode_documents(["abba c"])

    np.testing.assert_allclose(embedding.dense, np.array([3, 3, 2]) / np.sqrt(22), rtol=1e-6)
    np.testing.assert_array_equal(embedding.multi_vector.vectors, ours.multi_vector.vectors)
    np.testing.assert_array_equal(embedding.sparse.indices, ours.sparse.indices)


def test_documents_are_embedded_in_windows_and_in_order() -> None:
    service = Service()
    texts = [f"a{'b' * (n % 7)} {n}" for n in range(WINDOW + 3)]

    embeddings = list(encoder(service).encode_documents(iter(texts)))

    assert [len(call) for call in service.calls] == [WINDOW, 3]
    for text, embedding in zip(texts, embeddings, strict=True):
        np.testing.assert_allclose(embedding.dense, np.array(letters(text)) / np.linalg.norm(letters(text)), rtol=1e-6)


def test_vectors_that_are_given_are_not_paid_for() -> None:
    service = Service()
    index = HybridIndex.in_memory(encoder=encoder(service))

    index.add(["aaa", "bbb"], dense=[[1, 0, 0], [0, 1, 0]])
    hits = index.search("nothing of these words", dense=[0, 1, 0])

    assert service.calls == []
    assert hits[0].text == "bbb"


async def test_a_search_without_the_dense_stage_is_not_paid_for() -> None:
    service = Service()
    index = HybridIndex.in_memory(encoder=encoder(service))
    index.add(["abba c", "nothing"], dense=np.eye(2, 3))
    plan = SearchPlan(stages=("sparse",))

    assert [hit.text for hit in index.search("abba", plan=plan)] == ["abba c"]
    assert await index.asearch("abba", plan=plan) == index.search("abba", plan=plan)
    assert service.calls == []


def test_another_name_is_another_model() -> None:
    service = Service()

    assert encoder(service).spec == encoder(service).spec
    assert encoder(service).spec.fingerprint != encoder(service, name="letters-2").spec.fingerprint
    assert encoder(service, dim=None).spec == encoder(service).spec
    with pytest.raises(ValueError, match="name the dense model"):
        encoder(service, name=" ")


def test_a_model_that_gives_too_few_vectors_is_told() -> None:
    short = OwnDense(ToyEncoder(), embed_query=letters, embed_documents=lambda texts: [[1, 2, 3]], name="short", dim=3)

    with pytest.raises(ValueError, match="short gave 1 vectors for 2 texts"):
        list(short.encode_documents(["a", "b"]))
