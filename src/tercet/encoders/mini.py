"""The three-headed runtime: a checkpoint folder and texts in, embeddings out, with ONNX Runtime and without torch."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from tercet.checkpoint import HEADS, QUERY_WEIGHTS, USUAL_LENGTH, Checkpoint, Precision, default_checkpoint, token_id
from tercet.encoders.base import EncoderSpec, MaskedWord, TextTokens, Token
from tercet.errors import CheckpointError
from tercet.processors import available_cores
from tercet.runtime import make_session, runtime_weights
from tercet.scoring import importance
from tercet.types import Embedding, MultiVector, SparseVector

#: Padded tokens of one batch. The trunk is no faster with more, and the tiles of logits stay inside the cache.
BATCH_TOKENS = 2048
#: Documents that are sorted by length together; more would delay the first embedding without saving padding.
WINDOW = 256
#: What lies beyond this many characters for each token of the limit is not even tokenized. Words of English have five;
#: BERT reads any word of more than a hundred as one unknown token.
CHARACTERS_PER_TOKEN = 100

_Tokens: TypeAlias = tuple[list[int], bool]

_NEW_TOKEN: Callable[[tuple[str, int, int, int, int]], Token] = functools.partial(tuple.__new__, Token)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """How queries, or documents, are read.

    limit: of tokens, special ones included
    marker: the token after [CLS] that tells the trunk which side it reads; None for none
    skipped: (vocab,), True at tokens without a row in the multi-vector
    augmented: a text of fewer tokens gets rows for as many [MASK]s
    """

    prompt: str
    limit: int
    marker: int | None
    skipped: NDArray[np.bool_]
    augmented: int = 0


class HeadVectors(NamedTuple):
    """What a checkpoint's heads make of one text; None for a head that it does not hold.

    dense: (dim,) of length 1
    """

    dense: NDArray[np.float32] | None
    sparse: SparseVector | None
    multi_vector: MultiVector | None
    truncated: bool


class MiniEncoder:
    """Dense, sparse and multi-vector of a text from one pass over one trunk.

    A checkpoint with fewer heads (a SPLADE or a ColBERT from elsewhere) is a part of a
    `tercet.encoders.composed.ComposedEncoder`; alone it gives `query_vectors` and `document_vectors`.

    precision: "int8" rounds weights and activations with fixed scales, so a text's vectors never depend on its batch;
        "f32" is the exact model, about 1.5 times slower on a processor with AVX2 (benchmarks/speed.py)
    threads: documents are encoded on so many threads, each with its own batch; a query always takes one

    Safe to share between threads.

    Raises:
        CheckpointError: the folder is missing, incomplete or damaged.
    """

    def __init__(
        self, checkpoint: str | Path | None = None, *, precision: Precision = "int8", threads: int | None = None
    ) -> None:
        if precision not in ("int8", "f32"):
            raise ValueError(f"precision must be 'int8' or 'f32', got {precision!r}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.checkpoint = opened = Checkpoint.open(checkpoint or default_checkpoint())
        self.config = opened.config
        self.precision = precision
        self.threads = threads or available_cores()
        self._tokenizer = opened.tokenizer()
        weights = opened.weights()
        if "sparse" in opened.config.heads:
            self._terms: NDArray[np.int64] = weights["sparse.terms"].astype(np.int64)
            # For origins alone: one row of the decoder for each vocabulary index, as int8 with a scale.
            self._decoder = weights["sparse.decoder.rows"], weights["sparse.decoder.rows.scale"]
        # Where training has put one (tercet.training.pooling.InferenceFreeQueries), a query's words weigh what it says.
        self._query_weights = weights.get(QUERY_WEIGHTS)
        self._session = make_session(opened.graph(precision), runtime_weights(weights, opened.config, precision))
        self._specials = self._mask_of([self._token_id(token) for token in ("[CLS]", "[SEP]", "[PAD]")])
        self._mask = self._token_id("[MASK]") if opened.config.query_augmentation else 0
        self._query_side, self._document_side = self._sides()
        # Made once: every query asks for it, and a fingerprint takes half a millisecond.
        self._spec = EncoderSpec(
            name=f"{opened.config.name} ({precision})",
            fingerprint=opened.config.fingerprint(precision),
            dense_dim=opened.config.hidden,
            late_dim=opened.config.late_dim,
            vocabulary_size=opened.config.vocabulary_size,
        )

    @property
    def spec(self) -> EncoderSpec:
        """Raises CheckpointError for a checkpoint without all three heads."""
        self._check_heads()
        return self._spec

    def encode_query(self, query: str) -> Embedding:
        self._check_heads()
        return _embedding(self.query_vectors(query))

    def query_vectors(self, query: str) -> HeadVectors:
        """What the heads that are there make of a query.

        Raises:
            ValueError: it is empty.
        """
        if not query.strip():
            raise ValueError("the query is empty; ask for at least one word")
        tokens = self._tokenize([query], self._query_side)
        [(ids, truncated)] = tokens
        if self._query_weights is None:
            return self._weighted(self._run(tokens, self._query_side)[0], ids)
        words = np.unique(ids)
        words = words[self._query_weights[words] > 0]
        sparse = SparseVector(words.astype(np.int64), self._query_weights[words])
        if self.config.heads == ("sparse",):  # no other head asks for a pass of the model
            return HeadVectors(None, sparse, None, truncated)
        return self._weighted(self._run(tokens, self._query_side)[0]._replace(sparse=sparse), ids)

    def _weighted(self, vectors: HeadVectors, ids: Sequence[int]) -> HeadVectors:
        """Say how important a query's rows are; `ids` are its tokens, without augmentation."""
        sparse, late = vectors.sparse, vectors.multi_vector
        if not self.config.late_importance or sparse is None or late is None:
            return vectors
        rows = np.full(len(late.vectors), -1)  # what augmentation adds is no word
        kept = self._late_rows(np.array([ids]), self._query_side)[0]
        rows[: kept.sum()] = np.array(ids)[kept]
        weights = importance(rows, sparse, self.config.late_importance)
        return vectors._replace(multi_vector=MultiVector(late.vectors, weights))

    def encode_queries(self, queries: Sequence[str]) -> list[Embedding]:
        if len(queries) == 1:
            return [self.encode_query(queries[0])]
        # One by one, on several threads: a batch would change the last bits of a query's vectors, and so its ties.
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self.encode_query, queries))

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        self._check_heads()
        return map(_embedding, self.document_vectors(documents))

    def document_vectors(self, documents: Iterable[str]) -> Iterator[HeadVectors]:
        """What the heads that are there make of documents: lazily, in their order."""
        stream = iter(documents)
        pool = ThreadPoolExecutor(self.threads)
        try:
            windows: deque[_Window] = deque()
            while True:
                # One window is tokenized and queued while another is computed, so no thread waits for the tokenizer.
                while len(windows) < 2 and (texts := list(itertools.islice(stream, WINDOW))):
                    windows.append(self._submit(pool, texts))
                if not windows:
                    return
                window = windows.popleft()
                yield from window.vectors()
        finally:
            # After Ctrl-C, or when the caller stops asking, nobody wants what is still queued.
            pool.shutdown(cancel_futures=True)

    def terms(self, indices: Iterable[int]) -> list[str]:
        return [self._tokenizer.id_to_token(int(index)) or f"[{index}]" for index in indices]

    # --- where the numbers come from: implements tercet.encoders.base.Explainable ---

    def query_tokens(self, query: str) -> TextTokens:
        return self._read(self._tokens(query, self._query_side), self._query_side)

    def document_tokens(self, document: str) -> TextTokens:
        return self._read(self._tokens(document, self._document_side), self._document_side)

    def query_origins(self, query: str) -> Mapping[int, int]:
        if self._query_weights is not None:
            weights, tokens = self._query_weights, self.query_tokens(query).sparse
            positions = reversed(list(enumerate(tokens)))
            return {token.token_id: word for word, token in positions if weights[token.token_id] > 0}
        return self._origins(query, self._query_side)

    def document_origins(self, document: str) -> Mapping[int, int]:
        return self._origins(document, self._document_side)

    def _tokens(self, text: str, side: _Side) -> list[Token]:
        """Every token of `text` that the trunk reads, with its characters there: the same cut as `_tokenize`."""
        prompt, limit = side.prompt, side.limit
        whole = prompt + text
        encoding = self._tokenizer.encode(whole.strip()[: limit * CHARACTERS_PER_TOKEN])
        words = [-1 if word is None else word for word in encoding.word_ids]
        starts, ends = zip(*encoding.offsets, strict=True)
        # tuple's own __new__, for thousands of tokens are made, and a NamedTuple's takes three times as long.
        tokens = list(map(_NEW_TOKEN, zip(encoding.tokens, encoding.ids, starts, ends, words, strict=True)))
        if before := len(prompt) - (len(whole) - len(whole.lstrip())):
            tokens = [
                token._replace(start=token.start - before, end=token.end - before)
                if not token.special and token.start >= before
                else token._replace(start=0, end=0, word=-1)
                for token in tokens
            ]
        if side.marker is not None:
            tokens.insert(1, self._added(side.marker))
        return [*tokens[: limit - 1], tokens[-1]] if len(tokens) > limit else tokens

    def _read(self, tokens: Sequence[Token], side: _Side) -> TextTokens:
        ids = np.array([[token.token_id for token in tokens]])
        words = self._sparse_reads(ids, side)[0]
        kept = self._late_rows(ids, side)[0]
        late = list(itertools.compress(tokens, kept.tolist())) or list(tokens[:1])
        late += [self._added(self._mask)] * (side.augmented - len(tokens))
        return TextTokens(tuple(itertools.compress(tokens, words.tolist())), tuple(late))

    def _added(self, token_id: int) -> Token:
        return Token(self.terms([token_id])[0], token_id, 0, 0, -1)

    def query_activations(self, query: str, *, k: int = 8) -> list[tuple[Token, list[tuple[str, float]]]]:
        """Each word of a query with the terms that it alone would bring in, strongest first: before the max pooling."""
        _, _, word_logits = self._before_pooling(query, self._query_side)
        logits = word_logits(self._terms) + self.checkpoint.weights()["sparse.bias"]
        weights = self._weigh(np.maximum(logits, 0))
        weights *= self._evening(weights.max(axis=0))
        best = np.argsort(-weights, axis=1, kind="stable")[:, :k]
        found = []
        for token, row, columns in zip(self.query_tokens(query).sparse, weights, best, strict=True):
            pairs = zip(self.terms(self._terms[columns]), row[columns].tolist(), strict=True)
            found.append((token, [(term, weight) for term, weight in pairs if weight > 0]))
        return found

    def masked_word_predictions(self, query: str, *, k: int = 8) -> list[MaskedWord]:
        """Each word hidden in turn: what the sparse head expects at its place, as a softmax over its terms.

        That is how a masked language model guesses. The lexical bonus is left out, for it belongs to the word itself.
        """
        tokens = self._tokens(query, self._query_side)
        words: dict[int, list[int]] = {}
        for at, token in enumerate(tokens):
            if not token.special:
                words.setdefault(token.word, []).append(at)
        if not words:
            return []
        input_ids = np.zeros((len(words), len(tokens)), np.int64)
        attention_mask = np.zeros(input_ids.shape, np.int32)
        for row, pieces in enumerate(words.values()):
            # One [MASK] for a word of several pieces, too: what is guessed are terms, and a term is one.
            kept = [token.token_id for at, token in enumerate(tokens) if at not in pieces[1:]]
            kept[pieces[0]] = self._token_id("[MASK]")
            input_ids[row, : len(kept)] = kept
            attention_mask[row, : len(kept)] = 1
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "word_mask": attention_mask}
        [states] = self._session.run(["words"], inputs)
        hidden = states[np.arange(len(words)), [pieces[0] for pieces in words.values()]]
        rows, scales = self._decoder
        decoder = rows[self._terms].astype(np.float32) * scales[self._terms][:, None]
        logits = hidden @ decoder.T + self.checkpoint.weights()["sparse.bias"]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return [
            self._masked_word(query, [tokens[at] for at in pieces], row, k)
            for pieces, row in zip(words.values(), shares, strict=True)
        ]

    def _masked_word(self, query: str, pieces: Sequence[Token], shares: NDArray[np.float32], k: int) -> MaskedWord:
        best = np.argsort(-shares, kind="stable")[:k]
        own = shares[self._terms == pieces[0].token_id].tolist() if len(pieces) == 1 else []
        return MaskedWord(
            query[pieces[0].start : pieces[-1].end],
            own[0] if own else None,
            list(zip(self.terms(self._terms[best]), shares[best].tolist(), strict=True)),
        )

    def static_neighbours(self, token_id: int, *, k: int = 8) -> list[tuple[str, float]]:
        """The terms whose embeddings, before any context, have the greatest cosine with a token's own."""
        weights = self.checkpoint.weights()
        rows = weights["embeddings.word"].astype(np.float32)  # one scale a row, which a cosine does not see
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        cosines = rows @ rows[token_id]
        cosines[token_id] = -1
        best = np.argsort(-cosines, kind="stable")[:k]
        return list(zip(self.terms(best), cosines[best].tolist(), strict=True))

    def _origins(self, text: str, side: _Side) -> Mapping[int, int]:
        word_ids, sparse, word_logits = self._before_pooling(text, side)
        if not word_ids:
            return {}
        terms = self._terms[np.flatnonzero(sparse > 0)]
        return dict(zip(terms.tolist(), word_logits(terms).argmax(axis=0).tolist(), strict=True))

    def _before_pooling(
        self, text: str, side: _Side
    ) -> tuple[list[int], NDArray[np.float32], Callable[[NDArray[np.int64]], NDArray[np.float32]]]:
        """The ids of a text's words, its pooled logits (sparse_terms,), and what gives (n_words, n_terms) for terms."""
        if not {"words", "own"} <= {output.name for output in self._session.get_outputs()}:
            raise CheckpointError(
                f"the graph in {self.checkpoint.folder} was written by a version of tercet that told no origins; "
                f"tercet.models.graph.write_graphs(folder) writes it anew"
            )
        [(ids, _)] = self._tokenize([text], side)
        input_ids = np.array([ids], np.int64)
        is_word = self._sparse_reads(input_ids, side)
        attention_mask = np.ones_like(input_ids, np.int32)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "word_mask": attention_mask * is_word}
        sparse, words, own = self._session.run(["sparse", "words", "own"], inputs)
        kept = is_word[0]
        words, own, word_ids = self._as_the_graph_rounds(words[0, kept]), own[0, kept], input_ids[0, kept].tolist()
        rows, scales = self._decoder

        def word_logits(terms: NDArray[np.int64]) -> NDArray[np.float32]:
            logits: NDArray[np.float32] = words @ (rows[terms].astype(np.float32) * scales[terms][:, None]).T
            columns = {term: column for column, term in enumerate(terms.tolist())}
            for word, index in enumerate(word_ids):
                if (column := columns.get(index)) is not None:
                    logits[word, column] = max(logits[word, column], own[word])
            return logits

        return word_ids, sparse[0], word_logits

    def _as_the_graph_rounds(self, words: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.precision != "int8":
            return words
        low, high = self.config.activation_ranges["sparse.decoder"]
        low, high = min(low, 0.0), max(high, 0.0)
        step = max(high - low, 1e-6) / 255
        zero = round(-low / step)
        rounded: NDArray[np.float32] = (np.clip(np.rint(words / step) + zero, 0, 255) - zero) * np.float32(step)
        return rounded

    def __repr__(self) -> str:
        return f"MiniEncoder({self.spec.name!r}, threads={self.threads})"

    def _submit(self, pool: ThreadPoolExecutor, texts: Sequence[str]) -> _Window:
        tokens = self._tokenize(texts, self._document_side)
        batches = length_sorted_batches([len(ids) for ids, _ in tokens], BATCH_TOKENS)
        futures = [pool.submit(self._run, [tokens[text] for text in batch], self._document_side) for batch in batches]
        return _Window(batches, futures)

    def _sides(self) -> tuple[_Side, _Side]:
        config = self.config
        query_marker, document_marker = (
            self._token_id(marker) if marker else None for marker in (config.query_marker, config.document_marker)
        )
        return (
            _Side(
                config.query_prompt,
                config.max_query_tokens,
                query_marker,
                self._mask_of([]),
                config.query_augmentation,
            ),
            _Side(
                config.document_prompt,
                config.max_document_tokens,
                document_marker,
                self._mask_of(config.skiplist),
            ),
        )

    def _mask_of(self, token_ids: Sequence[int]) -> NDArray[np.bool_]:
        """(vocab,): True at these. Looking ids up in it takes a tenth of `np.isin` for the few tokens of one text."""
        mask = np.zeros(max(self._tokenizer.get_vocab_size(), self.config.vocabulary_size), np.bool_)
        mask[np.asarray(token_ids, np.int64)] = True
        return mask

    def _special(self, input_ids: NDArray[np.int64], side: _Side) -> NDArray[np.bool_]:
        """(batch, n_tokens): True at tokens that are no part of the text."""
        special: NDArray[np.bool_] = self._specials[input_ids]
        if side.marker is not None:
            special[:, 1] = True
        return special

    def _sparse_reads(self, input_ids: NDArray[np.int64], side: _Side) -> NDArray[np.bool_]:
        """(batch, n_tokens): True at tokens that the sparse head pools over."""
        if self.config.sparse_form.specials:
            return np.ones(input_ids.shape, np.bool_)
        return ~self._special(input_ids, side)

    def _late_rows(self, input_ids: NDArray[np.int64], side: _Side) -> NDArray[np.bool_]:
        """(batch, n_tokens): True at tokens with a row in the multi-vector."""
        kept: NDArray[np.bool_] = ~side.skipped[input_ids]
        return kept if self.config.late_specials else kept & ~self._special(input_ids, side)

    def _tokenize(self, texts: Sequence[str], side: _Side) -> list[_Tokens]:
        """Token ids of each text, cut to the limit with the last special token kept, and whether it was cut."""
        limit, marker = side.limit, [] if side.marker is None else [side.marker]
        most = limit * CHARACTERS_PER_TOKEN
        texts = [(side.prompt + text).strip() for text in texts]
        encodings = self._tokenizer.encode_batch_fast([text[:most] for text in texts])
        tokens = []
        for text, encoding in zip(texts, encodings, strict=True):
            ids = [*encoding.ids[:1], *marker, *encoding.ids[1:]]
            long = len(ids) > limit
            tokens.append(([*ids[: limit - 1], ids[-1]] if long else ids, long or len(text) > most))
        return tokens

    def _run(self, batch: Sequence[_Tokens], side: _Side) -> list[HeadVectors]:
        width = max(side.augmented, *(len(ids) for ids, _ in batch))
        input_ids = np.zeros((len(batch), width), np.int64)
        attention_mask = np.zeros((len(batch), width), np.int32)
        augmentation = np.zeros((len(batch), width), np.int32)
        for row, (ids, _) in enumerate(batch):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
            input_ids[row, len(ids) : side.augmented] = self._mask
            augmentation[row, len(ids) : side.augmented] = 1
        word_mask = attention_mask * self._sparse_reads(input_ids, side)
        # No token sees the [MASK]s, which see the text: the dense and the sparse vector are what they are without them.
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "word_mask": word_mask}
        heads = self.config.heads
        outputs = dict(zip(heads, self._session.run(list(heads), inputs), strict=True))
        if "late" in heads and side.augmented and self.config.attend_to_augmentation:
            # Here they would change the two, so that the multi-vector needs a pass of its own.
            attended = {**inputs, "attention_mask": attention_mask | augmentation}
            [outputs["late"]] = self._session.run(["late"], attended)
        kept = (attention_mask == 1) & self._late_rows(input_ids, side)
        # A text of nothing but punctuation still needs a row: its [CLS].
        kept[~kept.any(axis=1), 0] = True
        kept |= augmentation == 1
        if "sparse" in heads:
            outputs["sparse"][~word_mask.any(axis=1)] = 0
        return [
            HeadVectors(
                outputs["dense"][row] if "dense" in heads else None,
                self._sparse_vector(outputs["sparse"][row]) if "sparse" in heads else None,
                MultiVector(outputs["late"][row, kept[row]]) if "late" in heads else None,
                truncated,
            )
            for row, (_, truncated) in enumerate(batch)
        ]

    def _sparse_vector(self, pooled: NDArray[np.float32]) -> SparseVector:
        active = np.flatnonzero(pooled > 0)
        # A maximum comes as a logit, and what is monotone afterwards; a sum is of weights already.
        weights = self._weigh(pooled[active]) if self.config.sparse_form.pooling == "max" else pooled[active]
        return SparseVector(self._terms[active], weights * self._evening(weights))

    def _evening(self, weights: NDArray[np.float32]) -> np.float32:
        """What a text's weights are multiplied by, so that long texts compare with short ones."""
        power = self.config.sparse_form.length_normalization
        return np.float32((USUAL_LENGTH / max(float(np.linalg.norm(weights)), 1e-6)) ** power)

    def _weigh(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """From positive logits to weights."""
        for _ in range(self.config.sparse_form.logarithms):
            logits = np.log1p(logits)
        return logits

    def _check_heads(self) -> None:
        if missing := set(HEADS) - set(self.config.heads):
            raise CheckpointError(
                f"{self.checkpoint.folder} holds {' and '.join(self.config.heads)} alone, an index needs "
                f"{' and '.join(sorted(missing))}, too; join models with tercet.encoders.composed.ComposedEncoder.load("
                f"dense=…, sparse=…, late=…)"
            )

    def _token_id(self, token: str) -> int:
        return token_id(self._tokenizer, token, self.config.name)


def _embedding(vectors: HeadVectors) -> Embedding:
    """All three heads were there, as `_check_heads` has made sure."""
    return Embedding(*cast("tuple[NDArray[np.float32], SparseVector, MultiVector, bool]", vectors))


class _Window:
    """Batches under way, and the order in which their texts came."""

    def __init__(self, batches: Sequence[Sequence[int]], futures: Sequence[Future[list[HeadVectors]]]) -> None:
        self._batches = batches
        self._futures = futures

    def vectors(self) -> Iterator[HeadVectors]:
        ready: dict[int, HeadVectors] = {}
        for batch, future in zip(self._batches, self._futures, strict=True):
            ready.update(zip(batch, future.result(), strict=True))
        return (ready[text] for text in range(len(ready)))


def length_sorted_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group texts of like length so that a batch, padded to its longest, holds at most `budget` tokens."""
    batches: list[list[int]] = []
    for text in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        # The first of a batch is its longest, so its length times the number of texts is the padded size.
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(text)
        else:
            batches.append([text])
    return batches
