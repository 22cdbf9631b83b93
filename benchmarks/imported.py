"""Documents a second and queries of a SPLADE of BERT's usual size: imported, against sentence-transformers. One thread.

Twelve layers, 768 wide, 30,522 terms: naver/splade-v3 in shape, with seeded weights, which do not matter for the speed.
The bias of its terms is set so that a document has some hundred of them. Also told: the cosine of int8 to float32.
"""

from __future__ import annotations

import os

# Read once, by NumPy's BLAS and torch, when they are imported: both contestants get one thread.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SparseEncoder
from speed import texts_of
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from tercet.encoders.mini import MiniEncoder
from tercet.models.interchange import import_model
from tercet.types import SparseVector

ROUNDS, DOCUMENTS, TOKENS, TERMS = 3, 32, 137, 150
QUERY = "how do I rotate the keys of a vault"


def write_model(folder: Path, texts: list[str]) -> None:
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig()).eval()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(MiniEncoder().checkpoint.folder / "tokenizer.json"),
        model_max_length=512,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
    )
    with torch.inference_mode():
        logits = model(**tokenizer(texts[0], return_tensors="pt")).logits[0].amax(dim=0)
    with torch.no_grad():
        model.cls.predictions.bias.sub_(logits.topk(TERMS).values[-1])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cosine(theirs: NDArray[np.float32], ours: SparseVector) -> float:
    row = np.zeros(len(theirs), np.float32)
    row[ours.indices] = ours.values
    return float(row @ theirs / (np.linalg.norm(row) * np.linalg.norm(theirs)))


def main() -> None:
    torch.set_num_threads(1)
    texts = texts_of(MiniEncoder(), DOCUMENTS, TOKENS)
    with tempfile.TemporaryDirectory() as place:
        write_model(Path(place) / "splade", texts)
        theirs = SparseEncoder(f"{place}/splade", device="cpu")
        checkpoint = import_model(f"{place}/splade", Path(place) / "ours", calibration=texts)
        encoders = {name: MiniEncoder(checkpoint.folder, precision=name, threads=1) for name in ("int8", "f32")}
        contestants: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "sentence-transformers": (
                lambda: theirs.encode_document(texts, batch_size=8, show_progress_bar=False),
                lambda: theirs.encode_query([QUERY], show_progress_bar=False),
            )
        }
        for name, encoder in encoders.items():
            contestants[f"imported, {name}"] = (
                lambda encoder=encoder: list(encoder.document_vectors(texts)),
                lambda encoder=encoder: encoder.query_vectors(QUERY),
            )
        times: dict[str, dict[str, list[float]]] = {name: {"documents": [], "query": []} for name in contestants}
        for encode, ask in contestants.values():
            encode(), ask()
        for _ in range(ROUNDS):
            for name, (encode, ask) in contestants.items():
                times[name]["documents"].append(seconds(encode))
                times[name]["query"].append(min(seconds(ask) for _ in range(5)))
        rows = theirs.encode_document(texts, convert_to_sparse_tensor=False, show_progress_bar=False).numpy()
        agreement = {
            name: min(
                cosine(row, vectors.sparse) for row, vectors in zip(rows, encoder.document_vectors(texts), strict=True)
            )
            for name, encoder in encoders.items()
        }
        sizes = {
            "theirs": (Path(place) / "splade" / "model.safetensors").stat().st_size,
            "imported": (checkpoint.folder / "model.safetensors").stat().st_size,
        }
    base = times["sentence-transformers"]
    result = {
        "documents": {"count": DOCUMENTS, "tokens": TOKENS, "terms": float((rows > 0).sum(axis=1).mean())},
        "contestants": {
            name: {
                "documents_per_second": DOCUMENTS / statistics.median(each["documents"]),
                "query_milliseconds": 1000 * statistics.median(each["query"]),
                "documents_ratio": statistics.median(
                    first / second for first, second in zip(base["documents"], each["documents"], strict=True)
                ),
                "query_ratio": statistics.median(
                    first / second for first, second in zip(base["query"], each["query"], strict=True)
                ),
            }
            for name, each in times.items()
        },
        "least_cosine_to_theirs": agreement,
        "weights_bytes": sizes,
    }
    machine.write("imported", result)


if __name__ == "__main__":
    main()
