"""How a ColBERT reads its texts, on tiny seeded weights: ours against sentence-transformers' MultiVectorEncoder."""

import dataclasses
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Normalize, Transformer

from tercet.checkpoint import Checkpoint, ModelConfig
from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.models.export import trunk_tensors, write_model
from tercet.models.load import load_model
from tercet.scoring import maxsim

QUERIES = ["heart attack", "the cat sat on the red mat and rotate keys", "apple!", "a"]
DOCUMENTS = ["the cat sat on the mat.", "heart attack, treatment (protocol)!", "!?", "parse date string " * 20]

#: How a model reads → the same in sentence-transformers' words.
READINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as it is": ({}, {}),
    "markers": ({"query_marker": "q", "document_marker": "d"}, {}),
    "augmented": ({"query_augmentation": 12}, {"strategy": "min", "length": 12, "attend": False}),
    "augmented and attended to": (
        {"query_augmentation": 12, "attend_to_augmentation": True},
        {"strategy": "min", "length": 12, "attend": True},
    ),
    "ColBERT": (
        {"query_marker": "q", "document_marker": "d", "query_augmentation": 10, "max_query_tokens": 10},
        {"strategy": "fixed", "length": 10, "attend": False},
    ),
}

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def write(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Write:
    """The tiny checkpoint, reading in another way."""

    def written(**changes: Any) -> Path:
        loaded = load_model(tiny_checkpoint)
        assert loaded.sparse is not None
        assert loaded.late is not None
        state = {name: tensor.numpy() for name, tensor in loaded.trunk.state_dict().items()}
        folder = tmp_path_factory.mktemp("reading")
        write_model(
            folder,
            config=dataclasses.replace(loaded.config, **changes),
            tokenizer=loaded.tokenizer,
            trunk=trunk_tensors(state, loaded.config.layers),
            sparse=loaded.sparse,
            late=loaded.late,
            calibration=[*QUERIES, *DOCUMENTS],
            card="",
            kept={name: tensor for name, tensor in loaded.weights.items() if not name.endswith(".smooth")},
        )
        return folder

    return written


def theirs(checkpoint: Path, trunk: Path, expansion: dict[str, Any]) -> MultiVectorEncoder:
    """The same weights as modules of sentence-transformers, from their own folder's tokenizer."""
    loaded = load_model(checkpoint)
    assert loaded.late is not None
    config = loaded.config
    transformer = Transformer(
        str(trunk),
        query_length=config.max_query_tokens,
        document_length=config.max_document_tokens,
        query_expansion=expansion or None,
    )
    transformer.model.load_state_dict(loaded.trunk.state_dict(), strict=False)
    projection = Dense(
        config.hidden,
        config.late_dim,
        bias=False,
        activation_function=torch.nn.Identity(),
        module_input_name="token_embeddings",
        module_output_name="token_embeddings",
    )
    projection.linear.load_state_dict(loaded.late.project.state_dict())
    modules = [transformer, projection, MultiVectorMask(list(string.punctuation)), Normalize("token_embeddings")]
    prompts = {side: f"{marker} " for side, marker in markers(config).items() if marker}
    return MultiVectorEncoder(modules=modules, prompts=prompts, device="cpu")


def markers(config: ModelConfig) -> dict[str, str]:
    return {"query": config.query_marker, "document": config.document_marker}


@pytest.mark.parametrize("reading", READINGS)
def test_multi_vectors_and_maxsim_equal_theirs(write: Write, tiny_trunk: Path, reading: str) -> None:
    changes, expansion = READINGS[reading]
    folder = write(**changes, late_specials=True)
    model, encoder = theirs(folder, tiny_trunk, expansion), MiniEncoder(folder, precision="f32")

    queries, documents = encoder.encode_queries(QUERIES), list(encoder.encode_documents(DOCUMENTS))
    their_queries, their_documents = model.encode_query(QUERIES), model.encode_document(DOCUMENTS)
    for ours, other in zip([*queries, *documents], [*their_queries, *their_documents], strict=True):
        assert ours.multi_vector.vectors == pytest.approx(np.asarray(other), abs=1e-5)
    scores = [maxsim(query.multi_vector, [document.multi_vector for document in documents]) for query in queries]
    assert np.array(scores) == pytest.approx(model.similarity(their_queries, their_documents).numpy(), abs=1e-4)


@pytest.mark.parametrize("precision", ["f32", "int8"])
@pytest.mark.parametrize("attend", [False, True])
def test_augmentation_leaves_the_other_two_heads_alone(write: Write, precision: Any, attend: bool) -> None:
    plain = MiniEncoder(write(), precision=precision)
    augmented = MiniEncoder(write(query_augmentation=12, attend_to_augmentation=attend), precision=precision)
    # The same ranges: those of the int8 checkpoints were measured on other inputs.
    augmented = same_ranges(augmented, plain)

    for query in QUERIES:
        before, after = plain.encode_query(query), augmented.encode_query(query)
        assert after.dense == pytest.approx(before.dense, abs=1e-5)
        assert after.sparse.indices.tolist() == before.sparse.indices.tolist()
        assert after.sparse.values == pytest.approx(before.sparse.values, abs=1e-4)
        rows = len(before.multi_vector.vectors)
        assert len(after.multi_vector.vectors) == max(rows, 12 - 2)
        moved = np.abs(after.multi_vector.vectors[:rows] - before.multi_vector.vectors).max()
        assert moved > 1e-3 if attend and rows < 10 else moved < 1e-4
    [document] = augmented.encode_documents(["the cat"])
    assert len(document.multi_vector.vectors) == 2


def same_ranges(encoder: MiniEncoder, other: MiniEncoder) -> MiniEncoder:
    if encoder.precision == "f32":
        return encoder
    from tercet.models.graph import write_graphs

    folder = encoder.checkpoint.folder
    config = dataclasses.replace(encoder.config, activation_ranges=other.config.activation_ranges)
    weights = (other.checkpoint.folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "tercet.json").write_text(dataclasses.replace(config, weights_hash=other.config.weights_hash).to_json())
    write_graphs(folder)
    return MiniEncoder(folder, precision="int8")


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("specials", [False, True])
def test_every_row_has_its_token(write: Write, reading: str, specials: bool) -> None:
    encoder = MiniEncoder(write(**READINGS[reading][0], late_specials=specials), precision="f32")

    for text in QUERIES:
        tokens, embedding = encoder.query_tokens(text), encoder.encode_query(text)
        assert len(tokens.late) == len(embedding.multi_vector.vectors)
        assert [token.text for token in tokens.late if not token.special] == [
            token.text for token in tokens.sparse if not token.special
        ]
        assert set(encoder.query_origins(text)) == set(embedding.sparse.indices.tolist())
    for text, embedding in zip(DOCUMENTS, encoder.encode_documents(DOCUMENTS), strict=True):
        tokens = encoder.document_tokens(text)
        assert len(tokens.late) == len(embedding.multi_vector.vectors)
        assert not {"q", "d", "[CLS]"} & {token.text for token in tokens.sparse}
        assert set(encoder.document_origins(text)) == set(embedding.sparse.indices.tolist())


def test_a_marker_makes_no_term(write: Write) -> None:
    """The maximum over tokens must not see it, whichever batch the text is in."""
    encoder = MiniEncoder(write(query_marker="q", document_marker="d"), precision="f32")
    together = list(encoder.encode_documents(DOCUMENTS))

    for text, embedding in zip(DOCUMENTS, together, strict=True):
        words, _, word_logits = encoder._before_pooling(text, encoder._document_side)
        assert encoder._token_id("d") not in words
        logits = word_logits(embedding.sparse.indices).max(axis=0)
        bias = dict(zip(encoder._terms.tolist(), encoder.checkpoint.weights()["sparse.bias"].tolist(), strict=True))
        expected = np.log1p(logits + [bias[index] for index in embedding.sparse.indices.tolist()])
        assert embedding.sparse.values == pytest.approx(expected, abs=1e-4)


def test_the_shipped_vocabulary_has_colberts_markers() -> None:
    encoder = MiniEncoder()

    assert [encoder._token_id(marker) for marker in ("[unused0]", "[unused1]", "[MASK]")] == [1, 2, 103]


def test_a_folder_of_the_first_edition_keeps_its_fingerprint(tiny_checkpoint: Path) -> None:
    config = Checkpoint.open(tiny_checkpoint).config

    assert "query_marker" not in config.to_json()
    assert dataclasses.replace(config, query_augmentation=8).fingerprint("f32") != config.fingerprint("f32")


def test_what_cannot_be_read_so_is_named(write: Write) -> None:
    with pytest.raises(CheckpointError, match=r"has no \[unused7\]"):
        MiniEncoder(write(query_marker="[unused7]"))
    with pytest.raises(CheckpointError, match="fills queries up to 80 tokens and cuts them at 10"):
        write(query_augmentation=80, max_query_tokens=10)
