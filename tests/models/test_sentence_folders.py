"""What is exported, as sentence-transformers loads it, against the runtime's exact graph."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder

from tercet.checkpoint import SparseForm
from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.models.interchange import import_model
from tercet.models.sentence_folders import export_model, open_sparse_encoder
from tests import tiny
from tests.models import foreign
from tests.models.test_forms import FORMS, written

TEXTS = ["the cat sat on the cat mat", "heart attack: treatment!", "rotate the secret keys of a vault " * 12]


@pytest.fixture(scope="module")
def exported(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    return export_model(tiny_checkpoint, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def ours(tiny_checkpoint: Path) -> MiniEncoder:
    return MiniEncoder(tiny_checkpoint, precision="f32")


def test_dense_vectors_are_ours(exported: dict[Any, Path], ours: MiniEncoder) -> None:
    model = SentenceTransformer(str(exported["dense"]), device="cpu")

    for text, query, document in zip(TEXTS, model.encode_query(TEXTS), model.encode_document(TEXTS), strict=True):
        assert ours.encode_query(text).dense == pytest.approx(query, abs=1e-5)
        assert next(ours.encode_documents([text])).dense == pytest.approx(document, abs=1e-5)


def test_multi_vectors_are_ours(exported: dict[Any, Path], ours: MiniEncoder) -> None:
    model = MultiVectorEncoder(str(exported["late"]), device="cpu")

    for text, query, document in zip(TEXTS, model.encode_query(TEXTS), model.encode_document(TEXTS), strict=True):
        assert ours.encode_query(text).multi_vector.vectors == pytest.approx(np.asarray(query), abs=1e-5)
        found = next(ours.encode_documents([text])).multi_vector.vectors
        assert found == pytest.approx(np.asarray(document), abs=1e-5)


def test_sparse_vectors_are_ours_with_the_flag_and_with_our_opener(
    exported: dict[Any, Path], ours: MiniEncoder
) -> None:
    folder = str(exported["sparse"])
    for model in (SparseEncoder(folder, device="cpu", trust_remote_code=True), open_sparse_encoder(folder)):
        queries, documents = (
            encode(TEXTS, convert_to_sparse_tensor=False).cpu().numpy()
            for encode in (model.encode_query, model.encode_document)
        )
        for text, query, document in zip(TEXTS, queries, documents, strict=True):
            assert row(ours.encode_query(text).sparse) == pytest.approx(query, abs=1e-5)
            assert row(next(ours.encode_documents([text])).sparse) == pytest.approx(document, abs=1e-5)


def test_a_head_of_our_form_asks_for_the_flag(exported: dict[Any, Path]) -> None:
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        SparseEncoder(str(exported["sparse"]), device="cpu")


def test_a_text_without_words_has_an_empty_sparse_vector(exported: dict[Any, Path]) -> None:
    [empty, words] = open_sparse_encoder(exported["sparse"]).encode(["", "a cat"], convert_to_sparse_tensor=False)

    assert float(empty.abs().sum()) == 0 < float(words.sum())


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_sparse_head_is_exact(tiny_trunk: Path, tmp_path: Path, form: SparseForm) -> None:
    checkpoint = written(tmp_path / "ours", tiny_trunk, form)
    model = open_sparse_encoder(export_model(checkpoint, tmp_path / "theirs")["sparse"])
    expected = model.encode_document(TEXTS, convert_to_sparse_tensor=False).cpu().numpy()

    found = MiniEncoder(checkpoint, precision="f32").document_vectors(TEXTS)
    for vectors, theirs in zip(found, expected, strict=True):
        assert row(vectors.sparse) == pytest.approx(theirs, abs=1e-4)


def test_an_imported_splade_goes_out_without_a_class_of_ours(tmp_path: Path) -> None:
    imported = import_model(
        foreign.write_splade(tmp_path / "in", pooling="sum", activation="log1p_relu"),
        tmp_path / "ours",
        calibration=TEXTS,
    )
    folder = export_model(imported.folder, tmp_path / "out")["sparse"]
    expected = SparseEncoder(str(folder), device="cpu").encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()

    assert "tercet" not in (folder / "modules.json").read_text()
    found = MiniEncoder(imported.folder, precision="f32").document_vectors(TEXTS)
    for vectors, theirs in zip(found, expected, strict=True):
        assert row(vectors.sparse) == pytest.approx(theirs, abs=1e-4)


def test_inference_free_queries_go_out_as_a_router(tmp_path: Path) -> None:
    imported = import_model(foreign.write_inference_free(tmp_path / "in"), tmp_path / "ours", calibration=TEXTS)
    folder = export_model(imported.folder, tmp_path / "out")["sparse"]
    expected = SparseEncoder(str(folder), device="cpu").encode_query(TEXTS, convert_to_sparse_tensor=False).numpy()
    encoder = MiniEncoder(imported.folder)

    for text, theirs in zip(TEXTS, expected, strict=True):
        assert row(encoder.query_vectors(text).sparse) == pytest.approx(theirs, abs=1e-6)
    again = MiniEncoder(import_model(folder, tmp_path / "again", calibration=TEXTS).folder)
    assert row(again.query_vectors(TEXTS[0]).sparse) == pytest.approx(expected[0], abs=1e-6)


def test_a_head_of_our_form_comes_back(exported: dict[Any, Path], ours: MiniEncoder, tmp_path: Path) -> None:
    again = import_model(exported["sparse"], tmp_path / "again", calibration=TEXTS)
    config = ours.config

    assert again.config.sparse_form == config.sparse_form
    assert again.config.max_query_tokens == config.max_query_tokens
    for text, vectors in zip(TEXTS, MiniEncoder(again.folder, precision="f32").document_vectors(TEXTS), strict=True):
        found, before = row(vectors.sparse), row(next(ours.encode_documents([text])).sparse)
        assert found @ before / (np.linalg.norm(found) * np.linalg.norm(before)) > 0.9999


def test_half_precision_is_half_the_size(exported: dict[Any, Path], tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = export_model(tiny_checkpoint, tmp_path, heads=("dense",), weights="f16")["dense"]
    tensors = load_file(folder / "model.safetensors")

    assert {str(tensor.dtype) for tensor in tensors.values()} == {"float16"}
    whole = load_file(exported["dense"] / "model.safetensors")
    assert sum(t.nbytes for t in tensors.values()) * 2 == sum(t.nbytes for t in whole.values())


def test_the_tokenizer_names_a_class_that_older_versions_know(exported: dict[Any, Path]) -> None:
    settings = json.loads((exported["late"] / "tokenizer_config.json").read_text())

    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_head_that_is_not_there_is_named(tmp_path: Path, tiny_trunk: Path) -> None:
    sparse = written(tmp_path / "ours", tiny_trunk, SparseForm())
    with pytest.raises(CheckpointError, match="holds sparse, no late; name a checkpoint"):
        export_model(sparse, tmp_path / "out", heads=("late",))
    with pytest.raises(CheckpointError, match="holds no heads of a tercet checkpoint"):
        export_model(tiny_trunk, tmp_path / "out")


def row(sparse: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    weights = np.zeros(len(tiny.VOCABULARY), np.float32)
    weights[sparse.indices] = sparse.values
    return weights
