"""Three real sentence-transformers models with tiny seeded weights, saved to and loaded from folders."""

import pathlib
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from sentence_transformers.sparse_encoder.modules import SpladePooling
from transformers import AutoModelForMaskedLM

from tercet import HybridIndex
from tercet.encoders.composed import ComposedEncoder
from tercet.encoders.mini import MiniEncoder
from tercet.encoders.parts import Texts
from tercet.errors import CheckpointError
from tercet.models.interchange import import_model
from tests import tiny

TEXTS = ["the cat sat on the mat", "heart attack treatment protocol", "rotate the keys of a vault"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("models")
    trunk = str(tiny.write_trunk(place / "trunk"))
    masked = str(tiny.write_trunk(place / "masked", masked_language_model=True))
    transformer = Transformer(trunk)
    SentenceTransformer(modules=[transformer, Pooling(32)]).save(str(place / "dense"))
    sparse = SparseEncoder(modules=[Transformer(masked, transformer_task="fill-mask"), SpladePooling()])
    sparse.save(str(place / "sparse"))
    MultiVectorEncoder(trunk).save(str(place / "late"))
    return {name: str(place / name) for name in ("dense", "sparse", "late")}


@pytest.fixture(scope="module")
def encoder(folders: dict[str, str]) -> ComposedEncoder:
    return ComposedEncoder.load(**folders, device="cpu")


def test_each_head_is_its_models_own_output(encoder: ComposedEncoder, folders: dict[str, str]) -> None:
    dense = SentenceTransformer(folders["dense"], device="cpu").encode(TEXTS, normalize_embeddings=True)
    sparse = SparseEncoder(folders["sparse"], device="cpu").encode_document(TEXTS, convert_to_sparse_tensor=False)
    late = MultiVectorEncoder(folders["late"], device="cpu").encode_document(TEXTS)

    for row, embedding in enumerate(encoder.encode_documents(TEXTS)):
        assert embedding.dense == pytest.approx(dense[row], abs=1e-5)
        weights = np.zeros(len(tiny.VOCABULARY), np.float32)
        weights[embedding.sparse.indices] = embedding.sparse.values
        assert weights == pytest.approx(sparse[row].numpy(), abs=1e-5)
        assert embedding.multi_vector.vectors == pytest.approx(np.asarray(late[row]), abs=1e-5)


@pytest.mark.parametrize("query", [False, True])
def test_each_row_and_each_term_has_its_token(encoder: ComposedEncoder, folders: dict[str, str], query: bool) -> None:
    text = "The cat: heart attack, XYZ"
    embedding = encoder.encode_query(text) if query else next(encoder.encode_documents([text]))
    tokens = encoder.query_tokens(text) if query else encoder.document_tokens(text)
    origins = encoder.query_origins(text) if query else encoder.document_origins(text)

    assert len(tokens.late) == len(embedding.multi_vector.vectors)
    for token in (*tokens.late, *tokens.sparse):
        assert token.special == token.text.startswith("[")
        assert token.special or text[token.start : token.end].lower() == token.text.removeprefix("##")
    assert {"cat", "attack"} <= {token.text for token in tokens.late}
    model = AutoModelForMaskedLM.from_pretrained(f"{folders['sparse']}")
    ids = torch.tensor([[token.token_id for token in tokens.sparse]])
    expected = model(ids).logits[0].detach().numpy()
    assert set(origins) == set(embedding.sparse.indices.tolist())
    for term, position in origins.items():
        assert expected[position, term] == pytest.approx(expected[:, term].max(), abs=1e-4)


def test_what_the_models_add_to_a_query_is_split_out(encoder: ComposedEncoder) -> None:
    index = HybridIndex.in_memory(encoder=encoder)
    index.add(TEXTS)
    [explanation] = index.explain_many("heart attack", [index.search("heart attack")[0].id])

    assert any(match.special for match in explanation.matches)
    total = sum(match.contribution for match in explanation.matches)
    assert total == pytest.approx(explanation.stage("late").score, abs=1e-4)
    assert sum(term.contribution for term in explanation.terms) == pytest.approx(
        explanation.stage("sparse").score, abs=1e-4
    )


def test_an_index_takes_it_like_any_encoder(encoder: ComposedEncoder) -> None:
    index = HybridIndex.in_memory(encoder=encoder)
    index.add(TEXTS)

    assert index.search("heart attack treatment protocol", k=1)[0].text == TEXTS[1]
    assert encoder.spec.vocabulary_size == len(tiny.VOCABULARY)
    assert set(encoder.terms([5 + 32, len(tiny.VOCABULARY) - 1])) == {"a", tiny.VOCABULARY[-1]}


def test_the_fingerprint_is_of_the_weights(encoder: ComposedEncoder, folders: dict[str, str]) -> None:
    again = ComposedEncoder.load(**folders, device="cpu")
    assert again.spec.fingerprint == encoder.spec.fingerprint
    models = [SentenceTransformer(folders["dense"], device="cpu"), SparseEncoder(folders["sparse"], device="cpu")]
    weight = next(models[0].parameters())
    weight.data += 1

    other = ComposedEncoder(*models, MultiVectorEncoder(folders["late"], device="cpu"))
    assert other.spec.fingerprint != encoder.spec.fingerprint


def test_a_long_text_says_that_it_was_cut(encoder: ComposedEncoder) -> None:
    short, long = encoder.encode_documents(["the cat", "the cat " * 60])

    assert (short.truncated, long.truncated) == (False, True)


def test_pickled_weights_are_refused(folders: dict[str, str], tmp_path: pathlib.Path) -> None:
    import shutil

    import torch

    dense = shutil.copytree(folders["dense"], tmp_path / "dense")
    names: Iterable[pathlib.Path] = list(dense.rglob("model.safetensors"))
    for path in names:
        torch.save({}, path.with_name("pytorch_model.bin"))
        path.unlink()

    with pytest.raises(CheckpointError, match=r"pickled weights \(pytorch_model.bin\) and no safetensors beside them"):
        ComposedEncoder.load(dense=str(dense), sparse=folders["sparse"], late=folders["late"], device="cpu")


def test_an_empty_query_is_an_error(encoder: ComposedEncoder) -> None:
    with pytest.raises(ValueError, match="query is empty"):
        encoder.encode_query(" ")


def test_an_imported_model_gives_one_head_and_a_checkpoint_the_others(
    folders: dict[str, str], tiny_checkpoint: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    imported = str(import_model(folders["sparse"], tmp_path / "splade", calibration=TEXTS).folder)
    ours = MiniEncoder(tiny_checkpoint)
    encoder = ComposedEncoder.load(dense=str(tiny_checkpoint), sparse=imported, late=str(tiny_checkpoint))

    for embedding, mini, splade in zip(
        encoder.encode_documents(TEXTS),
        ours.encode_documents(TEXTS),
        MiniEncoder(imported).document_vectors(TEXTS),
        strict=True,
    ):
        assert np.array_equal(embedding.dense, mini.dense)
        assert np.array_equal(embedding.multi_vector.vectors, mini.multi_vector.vectors)
        assert splade.sparse is not None
        assert np.array_equal(embedding.sparse.values, splade.sparse.values)
    index = HybridIndex.in_memory(encoder=encoder)
    index.add(TEXTS)
    [explanation] = index.explain_many("heart attack", [index.search("heart attack")[0].id])
    assert sum(term.contribution for term in explanation.terms) == pytest.approx(
        explanation.stage("sparse").score, abs=1e-4
    )


def test_checkpoints_and_models_of_sentence_transformers_join(
    encoder: ComposedEncoder, folders: dict[str, str], tiny_checkpoint: pathlib.Path
) -> None:
    joined = ComposedEncoder.load(
        dense=str(tiny_checkpoint), sparse=folders["sparse"], late=folders["late"], device="cpu"
    )
    [mixed], [composed] = joined.encode_documents(TEXTS[:1]), encoder.encode_documents(TEXTS[:1])

    assert np.array_equal(mixed.sparse.values, composed.sparse.values)
    assert np.array_equal(mixed.multi_vector.vectors, composed.multi_vector.vectors)
    assert joined.spec.fingerprint != encoder.spec.fingerprint


def test_a_checkpoint_runs_once_for_two_heads(tiny_checkpoint: pathlib.Path) -> None:
    encoder = MiniEncoder(tiny_checkpoint)
    passing = Texts(TEXTS, query=False)

    assert passing.through(encoder) is passing.through(encoder)


def test_a_head_that_a_checkpoint_does_not_hold_is_named(
    folders: dict[str, str], tiny_checkpoint: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    imported = str(import_model(folders["late"], tmp_path / "colbert", calibration=TEXTS).folder)

    with pytest.raises(CheckpointError, match=r"holds late, no sparse head; name another model for sparse="):
        ComposedEncoder.load(dense=str(tiny_checkpoint), sparse=imported, late=imported)


def test_a_hub_name_without_a_network_says_what_to_do() -> None:
    with pytest.raises(CheckpointError, match=r"no folder 'naver/splade-v3'.*HF_HUB_OFFLINE is set\); download it"):
        ComposedEncoder.load(dense="tercet-mini", sparse="naver/splade-v3", late="tercet-mini")
