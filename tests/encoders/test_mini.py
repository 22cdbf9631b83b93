"""The runtime against torch on the same seeded weights, and the shipped model on real words."""

import itertools
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertModel

from tercet.checkpoint import Precision
from tercet.encoders.mini import WINDOW, MiniEncoder, length_sorted_batches
from tercet.errors import CheckpointError
from tercet.models.heads import dense_head
from tercet.types import Embedding
from tests import tiny

TEXTS = ["the cat sat on the mat", "heart attack, treatment protocol!", "rotate keys", "a", "parse date string " * 9]


@pytest.fixture(scope="module")
def exact(tiny_checkpoint: Path) -> MiniEncoder:
    return MiniEncoder(tiny_checkpoint, precision="f32")


@pytest.fixture(scope="module")
def mini() -> MiniEncoder:
    return MiniEncoder()


def torch_vectors(trunk: Path, text: str) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Dense, late (every token) and sparse weights by torch, one text without padding."""
    model = BertModel.from_pretrained(trunk)
    sparse, late = tiny.heads(model)
    ids = torch.tensor([tiny.tokenizer().encode(text).ids])
    with torch.inference_mode():
        states = model(ids).last_hidden_state[0]
        weights = sparse(states[1:-1], ids[0, 1:-1], [len(states) - 2])
        return dense_head(states, [len(states)])[0].numpy(), late(states).numpy(), weights[0].numpy()


def dense_weights(embedding: Embedding) -> NDArray[np.float32]:
    weights = np.zeros(len(tiny.VOCABULARY), np.float32)
    weights[embedding.sparse.indices] = embedding.sparse.values
    return weights


class TestParityWithTorch:
    @pytest.mark.parametrize("text", TEXTS)
    def test_three_heads_equal_the_torch_definition(self, exact: MiniEncoder, tiny_trunk: Path, text: str) -> None:
        dense, late, weights = torch_vectors(tiny_trunk, text)
        embedding = exact.encode_query(text)

        # Stored as float16 and 7-bit rows, so equal to their rounding.
        assert embedding.dense @ dense == pytest.approx(1, abs=1e-4)
        assert np.einsum("nd,nd->n", embedding.multi_vector.vectors, late[1:-1]) == pytest.approx(1, abs=1e-3)
        terms = exact.checkpoint.weights()["sparse.terms"]
        assert len(embedding.sparse.indices) > 0
        assert dense_weights(embedding)[terms] == pytest.approx(weights[terms], abs=0.06)

    def test_int8_stays_close_to_f32(self, exact: MiniEncoder, tiny_checkpoint: Path) -> None:
        rounded = MiniEncoder(tiny_checkpoint, precision="int8")
        for one, other in zip(exact.encode_documents(TEXTS), rounded.encode_documents(TEXTS), strict=True):
            assert one.dense @ other.dense > 0.98


class TestBatches:
    def test_a_document_alone_and_in_a_batch_has_the_same_vectors(self, mini: MiniEncoder) -> None:
        together = list(mini.encode_documents(TEXTS))
        for text, expected in zip(TEXTS, together, strict=True):
            (alone,) = mini.encode_documents([text])
            assert alone.dense == pytest.approx(expected.dense, abs=1e-5)
            assert alone.multi_vector.vectors == pytest.approx(expected.multi_vector.vectors, abs=1e-4)
            assert alone.sparse.indices.tolist() == expected.sparse.indices.tolist()
            assert alone.sparse.values == pytest.approx(expected.sparse.values, abs=1e-4)

    def test_the_order_of_the_input_is_kept(self, exact: MiniEncoder) -> None:
        texts = [" ".join(tiny.WORDS[: 1 + number % 7]) for number in range(WINDOW + 20)]
        for text, embedding in zip(texts, exact.encode_documents(texts), strict=True):
            assert embedding.dense @ exact.encode_query(text).dense == pytest.approx(1, abs=1e-5)

    def test_documents_are_read_lazily(self, exact: MiniEncoder) -> None:
        read = []

        def texts() -> Iterator[str]:
            for number in itertools.count():
                read.append(number)
                yield "the cat"

        next(exact.encode_documents(texts()))
        assert len(read) <= 3 * WINDOW

    def test_batches_hold_the_budget_and_every_text_once(self) -> None:
        lengths = [3, 90, 12, 7, 300, 12, 1]
        batches = length_sorted_batches(lengths, 100)

        assert sorted(itertools.chain(*batches)) == list(range(7))
        assert [300] in [[lengths[text] for text in batch] for batch in batches]
        assert all(max(lengths[text] for text in batch) * len(batch) <= 100 for batch in batches if len(batch) > 1)

    def test_threads_share_one_encoder(self, mini: MiniEncoder) -> None:
        expected = [mini.encode_query(text) for text in TEXTS]
        with ThreadPoolExecutor(4) as pool:
            for one, other in zip(expected, pool.map(mini.encode_query, TEXTS), strict=True):
                assert np.array_equal(one.dense, other.dense)
                assert np.array_equal(one.sparse.values, other.sparse.values)

    def test_many_queries_equal_one_by_one_to_the_bit(self, mini: MiniEncoder) -> None:
        for text, embedding in zip(TEXTS, mini.encode_queries(TEXTS), strict=True):
            assert np.array_equal(embedding.dense, mini.encode_query(text).dense)


class TestTexts:
    def test_punctuation_of_documents_has_no_token_vector(self, mini: MiniEncoder) -> None:
        plain, marked = mini.encode_documents(["a cat and a dog", "a cat, and (a dog)!"])

        assert len(plain.multi_vector.vectors) == len(marked.multi_vector.vectors) == 5

    @pytest.mark.parametrize("text", ["!!!", "​", "\x00", "…"])
    def test_a_text_without_words_still_has_a_row(self, mini: MiniEncoder, text: str) -> None:
        (embedding,) = mini.encode_documents([text])

        assert len(embedding.multi_vector.vectors) >= 1

    def test_special_tokens_are_no_terms(self, mini: MiniEncoder) -> None:
        embedding = mini.encode_query("cat")
        terms = mini.terms(embedding.sparse.indices)

        assert "cat" in terms
        assert not {"[CLS]", "[SEP]", "[PAD]", "[unused0]"} & set(terms)

    def test_a_long_text_is_cut_and_says_so(self, mini: MiniEncoder) -> None:
        words = ["word"] * 1000
        long, same = mini.encode_documents([" ".join(words), " ".join(words[: mini.config.max_document_tokens - 2])])

        assert (long.truncated, same.truncated) == (True, False)
        assert long.dense == pytest.approx(same.dense, abs=1e-5)

    def test_leading_blanks_do_not_push_the_words_out(self, mini: MiniEncoder) -> None:
        blank, plain = mini.encode_documents([" " * 40_000 + "the cat", "the cat"])

        assert blank.dense == pytest.approx(plain.dense, abs=1e-5)

    def test_a_megabyte_is_quickly_cut(self, mini: MiniEncoder) -> None:
        (embedding,) = mini.encode_documents(["x" * (1 << 20)])

        assert embedding.truncated

    @pytest.mark.parametrize("query", ["", "  "])
    def test_an_empty_query_is_an_error(self, mini: MiniEncoder, query: str) -> None:
        with pytest.raises(ValueError, match="query is empty"):
            mini.encode_query(query)

    def test_a_related_word_is_found_by_expansion(self, mini: MiniEncoder) -> None:
        treats = mini.encode_query("heart attack treatment")
        about, other = mini.encode_documents(["cardiac arrest therapy guidelines", "gardening in small balconies"])

        assert treats.sparse.dot(about.sparse) > treats.sparse.dot(other.sparse)
        assert treats.dense @ about.dense > treats.dense @ other.dense


class TestCheckpoints:
    def test_precisions_have_their_own_fingerprints(self, exact: MiniEncoder, tiny_checkpoint: Path) -> None:
        assert exact.spec.fingerprint != MiniEncoder(tiny_checkpoint).spec.fingerprint

    def test_an_unknown_precision_is_an_error(self, tiny_checkpoint: Path) -> None:
        with pytest.raises(ValueError, match="'int8' or 'f32', got 'bf16'"):
            MiniEncoder(tiny_checkpoint, precision="bf16")  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["tercet.json", "model.safetensors", "tokenizer.json", "graph.int8.onnx"])
    def test_a_missing_file_is_named(self, tiny_checkpoint: Path, tmp_path: Path, name: str) -> None:
        folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
        (folder / name).unlink()

        with pytest.raises(CheckpointError, match=name):
            MiniEncoder(folder)

    def test_a_damaged_file_is_named(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])

        with pytest.raises(CheckpointError, match=r"safetensors is not the file that tercet\.json describes"):
            MiniEncoder(folder)

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
    def test_one_changed_bit_is_noticed(self, tiny_checkpoint: Path, tmp_path: Path, name: str) -> None:
        folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
        damaged = bytearray((folder / name).read_bytes())
        damaged[-9] ^= 1
        (folder / name).write_bytes(damaged)

        with pytest.raises(CheckpointError, match="copy the whole folder again"):
            MiniEncoder(folder)

    def test_a_graph_that_does_not_fit_the_weights_is_named(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
        (folder / "graph.int8.onnx").write_bytes((folder / "graph.f32.onnx").read_bytes())

        with pytest.raises(CheckpointError, match="graph does not fit"):
            MiniEncoder(folder)

    def test_a_newer_format_is_refused(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
        config = folder / "tercet.json"
        config.write_text(config.read_text().replace('"format": 1', '"format": 2'))

        with pytest.raises(CheckpointError, match="format 2, this version of tercet reads format 1"):
            MiniEncoder(folder)


class TestOrigins:
    @pytest.mark.parametrize("precision", ["int8", "f32"])
    @pytest.mark.parametrize("text", [*TEXTS, "...", ""])
    def test_each_row_has_its_token_and_each_token_its_characters(
        self, tiny_checkpoint: Path, precision: Precision, text: str
    ) -> None:
        encoder = MiniEncoder(tiny_checkpoint, precision=precision)
        embedding, tokens = next(encoder.encode_documents([text])), encoder.document_tokens(text)

        assert len(tokens.late) == len(embedding.multi_vector.vectors)
        for token in tokens.sparse:
            assert text[token.start : token.end].lower() == token.text.removeprefix("##")
        if text.strip(".") == "":
            assert [token.text for token in tokens.late] == ["[CLS]"]

    @pytest.mark.parametrize("precision", ["int8", "f32"])
    @pytest.mark.parametrize("text", ["The cat, the dog: heart attack!", "keys " * 80])
    def test_the_origin_of_a_term_is_the_word_without_which_its_weight_falls(
        self, tiny_checkpoint: Path, precision: Precision, text: str
    ) -> None:
        encoder = MiniEncoder(tiny_checkpoint, precision=precision)
        [(ids, _)] = encoder._tokenize([text], encoder._document_side)
        n_words = len(ids) - 2
        # By brute force: the sparse logits of each word alone. The trunk still reads the whole text.
        inputs = {
            "input_ids": np.tile(ids, (n_words, 1)),
            "attention_mask": np.ones((n_words, len(ids)), np.int32),
            "word_mask": np.eye(n_words, len(ids), 1, dtype=np.int32),
        }
        [alone] = encoder._session.run(["sparse"], inputs)

        origins = encoder.document_origins(text)
        assert set(origins) == set(next(encoder.encode_documents([text])).sparse.indices.tolist())
        for term, position in origins.items():
            logits = alone[:, encoder._terms.tolist().index(term)]
            assert logits[position] == pytest.approx(logits.max(), abs=1e-5)

    def test_a_prompt_stands_for_no_characters(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        copied = shutil.copytree(tiny_checkpoint, tmp_path / "prompted")
        config = json.loads((copied / "tercet.json").read_text())
        (copied / "tercet.json").write_text(json.dumps({**config, "query_prompt": "query: "}))
        tokens = MiniEncoder(copied).query_tokens(" heart attack").sparse

        assert [(token.text, token.special) for token in tokens][-3:] == [
            (":", True),
            ("heart", False),
            ("attack", False),
        ]
        assert (tokens[-2].start, tokens[-2].end) == (1, 6)

    def test_a_graph_of_before_says_what_to_do(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        copied = shutil.copytree(tiny_checkpoint, tmp_path / "old")
        model = onnx.load(copied / "graph.int8.onnx", load_external_data=False)
        del model.graph.output[3:]
        (copied / "graph.int8.onnx").write_bytes(model.SerializeToString())

        with pytest.raises(CheckpointError, match="write_graphs"):
            MiniEncoder(copied).document_origins("heart attack")
