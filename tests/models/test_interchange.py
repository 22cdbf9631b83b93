"""Models of other libraries, against these libraries: every layout, seeded and tiny."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder
from transformers import AutoModelForMaskedLM, AutoTokenizer

from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.models.interchange import import_model, read_foreign
from tercet.models.load import LoadedModel, load_model
from tercet.models.sentence_folders import export_model
from tercet.scoring import maxsim
from tests import tiny
from tests.models import foreign

TEXTS = ["the cat sat on the mat!", "heart attack: treatment, protocol", "a", "rotate the keys of the vault " * 5]


def told(loaded: LoadedModel, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The sparse vector of a text, (vocabulary,), from the parts in f32."""
    assert loaded.sparse is not None
    encoding = tiny.tokenizer().encode(text)
    limit = loaded.config.max_document_tokens
    ids = torch.tensor([encoding.ids if len(encoding.ids) <= limit else [*encoding.ids[: limit - 1], encoding.ids[-1]]])
    with torch.no_grad():
        states = loaded.trunk(ids).last_hidden_state[0]
        weights: np.ndarray[Any, np.dtype[np.float32]] = loaded.sparse(states, ids[0], [ids.shape[1]])[0].numpy()
    return weights


@pytest.mark.parametrize(
    ("pooling", "activation"), [("max", "relu"), ("sum", "relu"), ("max", "log1p_relu"), ("sum", "log1p_relu")]
)
def test_a_splade_has_the_same_vectors(tmp_path: Path, pooling: str, activation: str) -> None:
    folder = foreign.write_splade(tmp_path / "splade", pooling=pooling, activation=activation)
    theirs = SparseEncoder(str(folder), device="cpu").encode_document(TEXTS, convert_to_sparse_tensor=False)
    loaded = load_model(folder)

    for text, expected in zip(TEXTS, theirs.numpy(), strict=True):
        assert told(loaded, text) == pytest.approx(expected, abs=1e-5)
        assert (expected > 0).sum() > 20


def test_a_decoder_that_shares_nothing_with_the_word_embeddings_is_read_with_its_bias(tmp_path: Path) -> None:
    masked = tiny.write_trunk(tmp_path / "masked", masked_language_model=True)
    model = AutoModelForMaskedLM.from_pretrained(masked, tie_word_embeddings=False)
    torch.manual_seed(3)
    with torch.no_grad():
        model.cls.predictions.decoder.weight.normal_()
        model.cls.predictions.decoder.bias.normal_()
    model.save_pretrained(masked)
    (expected,) = SparseEncoder(str(masked), device="cpu").encode_document(TEXTS[:1], convert_to_sparse_tensor=False)

    assert told(load_model(masked), TEXTS[0]) == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize(
    "write", [foreign.write_distilbert, lambda at: tiny.write_trunk(at, masked_language_model=True)]
)
def test_a_plain_model_for_masked_words_is_a_splade(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    folder = write(tmp_path / "plain")
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    loaded = load_model(folder)

    for text in TEXTS:
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt", truncation=True)).logits[0]
        expected = torch.log1p(torch.relu(logits)).amax(dim=0).numpy()
        assert told(loaded, text) == pytest.approx(expected, abs=1e-5)


def test_inference_free_queries_are_looked_up(tmp_path: Path) -> None:
    folder = foreign.write_inference_free(tmp_path / "router")
    model = SparseEncoder(str(folder), device="cpu")
    encoder = MiniEncoder(import_model(folder, tmp_path / "ours", calibration=TEXTS).folder, precision="f32")

    for text, expected in zip(TEXTS, model.encode_query(TEXTS, convert_to_sparse_tensor=False).numpy(), strict=True):
        assert dense_row(encoder.query_vectors(text).sparse) == pytest.approx(expected, abs=1e-6)
    documents = model.encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()
    for vectors, expected in zip(encoder.document_vectors(TEXTS), documents, strict=True):
        assert dense_row(vectors.sparse) == pytest.approx(expected, abs=0.05)  # stored as int8 rows


def test_weights_of_queries_may_stand_in_a_json_by_token(tmp_path: Path) -> None:
    folder = foreign.write_inference_free(tmp_path / "router")
    (place,) = folder.glob("query_0_*")
    (place / "model.safetensors").unlink()
    changed(place / "config.json", path="idf.json")
    (place / "idf.json").write_text(json.dumps({"cat": 2.5, "[SEP]": 9.0, "no-such-token": 7.0}))
    table = read_foreign(folder).query_weights

    assert table is not None
    assert {tiny.VOCABULARY[index]: float(table[index]) for index in np.flatnonzero(table)} == {"cat": 2.5}


COLBERTS: dict[str, Callable[[Path], Path]] = {
    "pylate": foreign.write_pylate,
    "pylate, no expansion": lambda at: foreign.write_pylate(at, do_query_expansion=False, skiplist_words=[]),
    "pylate, expansion attended to": lambda at: foreign.write_pylate(at, attend_to_expansion_tokens=True),
    "stanford": foreign.write_stanford,
    "sentence-transformers": lambda at: foreign.write_multi_vector(
        at, document_length=20, query_expansion={"strategy": "min", "attend": False, "length": 12}
    ),
    "sentence-transformers, plain": foreign.write_multi_vector,
}


@pytest.mark.parametrize("write", COLBERTS.values(), ids=COLBERTS)
def test_a_colbert_has_the_same_maxsim(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    """On the weights as they are stored: their folder, into ours, out to theirs again."""
    ours = import_model(write(tmp_path / "colbert"), tmp_path / "ours", calibration=TEXTS)
    encoder = MiniEncoder(ours.folder, precision="f32")
    [again] = export_model(ours.folder, tmp_path / "again").values()
    rounded = MultiVectorEncoder(str(again), device="cpu")
    queries, documents = rounded.encode_query(TEXTS), rounded.encode_document(TEXTS)
    scores = rounded.similarity(queries, documents).numpy()

    found = [vectors.multi_vector for vectors in encoder.document_vectors(TEXTS)]
    for row, text in enumerate(TEXTS):
        query = encoder.query_vectors(text).multi_vector
        assert query is not None
        assert query.vectors == pytest.approx(np.asarray(queries[row]), abs=1e-5)
        for column, document in enumerate(found):
            assert document is not None
            assert maxsim(query, [document])[0] == pytest.approx(scores[row, column], abs=1e-4)


@pytest.mark.parametrize("write", COLBERTS.values(), ids=COLBERTS)
def test_a_colbert_is_rounded_and_nothing_else(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    folder = write(tmp_path / "colbert")
    theirs = MultiVectorEncoder(str(folder), device="cpu")
    encoder = MiniEncoder(import_model(folder, tmp_path / "ours", calibration=TEXTS).folder, precision="f32")

    for query, text in zip(theirs.encode_query(TEXTS), TEXTS, strict=True):
        assert_rows_agree(encoder.query_vectors(text).multi_vector, query)
    for document, vectors in zip(theirs.encode_document(TEXTS), encoder.document_vectors(TEXTS), strict=True):
        assert_rows_agree(vectors.multi_vector, document)


def test_a_dense_model_that_pools_by_mean_has_the_same_vectors(tmp_path: Path) -> None:
    folder = foreign.write_dense(tmp_path / "dense")
    theirs = SentenceTransformer(str(folder), device="cpu").encode_document(TEXTS)
    encoder = MiniEncoder(import_model(folder, tmp_path / "ours", calibration=TEXTS).folder, precision="f32")

    for vectors, expected in zip(encoder.document_vectors(TEXTS), theirs, strict=True):
        assert vectors.dense is not None
        assert vectors.dense @ expected > 0.9999


def test_an_imported_checkpoint_says_what_it_is(tmp_path: Path) -> None:
    config = import_model(foreign.write_pylate(tmp_path / "colbert"), tmp_path / "ours", calibration=TEXTS).config

    assert (config.name, config.heads, config.late_dim) == ("colbert", ("late",), 12)
    assert (config.query_marker, config.document_marker, config.late_specials) == ("[unused0]", "[unused1]", True)
    assert (config.max_query_tokens, config.query_augmentation, config.max_document_tokens) == (16, 16, 24)


# --- what is refused ---


@pytest.mark.parametrize("write", [foreign.write_splade, foreign.write_stanford, foreign.write_pylate])
def test_pickled_weights_are_refused(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    folder = foreign.pickled(write(tmp_path / "model"), tmp_path / "pickled")

    with pytest.raises(CheckpointError, match=r"pickled weights \(.*pytorch_model.bin.*save it again as safetensors"):
        load_model(folder)


def changed(path: Path, /, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_our_heads_do_not_compute_is_named(tmp_path: Path) -> None:
    colbert = foreign.write_pylate(tmp_path / "colbert")
    changed(colbert / "1_Dense" / "config.json", activation_function="torch.nn.modules.activation.Tanh")
    with pytest.raises(
        CheckpointError, match=r"its Dense has bias, residual or Tanh.*ComposedEncoder runs it as it is"
    ):
        load_model(colbert)
    with pytest.raises(CheckpointError, match=r"'the-marker', which the config calls a marker"):
        load_model(foreign.write_pylate(tmp_path / "marker", query_prefix="the-marker"))
    other = foreign.write_splade(tmp_path / "other")
    changed(other / "config.json", model_type="roberta")
    with pytest.raises(CheckpointError, match=r"is a 'roberta' with 'gelu', the runtime graph knows BERT"):
        load_model(other)
    with pytest.raises(
        CheckpointError, match=r"is a trunk without a head; train heads on it: tercet train heads --from"
    ):
        import_model(foreign.write_dense(tmp_path / "cls", pooling="cls"), tmp_path / "out", calibration=TEXTS)


def test_weights_in_bfloat16_and_in_parts_are_read(tmp_path: Path) -> None:
    folder = foreign.write_splade(tmp_path / "splade")
    whole = load_file(folder / "model.safetensors")
    names = sorted(whole)
    for part, members in enumerate((names[::2], names[1::2]), start=1):
        tensors = {name: whole[name].bfloat16() for name in members}
        save_file(tensors, folder / f"model-0000{part}-of-00002.safetensors")
    expected = told(load_model(folder), TEXTS[0])
    (folder / "model.safetensors").unlink()
    found = told(load_model(folder), TEXTS[0])

    assert found @ expected / (np.linalg.norm(found) * np.linalg.norm(expected)) > 0.99


def test_a_folder_without_its_tokenizer_is_named(tmp_path: Path) -> None:
    folder = foreign.write_splade(tmp_path / "splade")
    (folder / "tokenizer.json").unlink()

    with pytest.raises(CheckpointError, match=r"tokenizer.json not found; transformers' AutoTokenizer"):
        load_model(folder)


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    folder = foreign.write_splade(tmp_path / "splade")
    (folder / "modules.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"modules.json cannot be read"):
        load_model(folder)
    stanford = foreign.write_stanford(tmp_path / "stanford")
    (stanford / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"model.safetensors cannot be read .*; copy it again"):
        load_model(stanford)


def dense_row(sparse: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    row = np.zeros(len(tiny.VOCABULARY), np.float32)
    row[sparse.indices] = sparse.values
    return row


def assert_rows_agree(ours: Any, theirs: Any) -> None:
    rows = np.asarray(theirs)
    assert ours.vectors.shape == rows.shape
    assert math.isclose(float((ours.vectors * rows).sum(axis=1).min()), 1, abs_tol=5e-3)
