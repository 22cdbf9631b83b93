"""A checkpoint made ready to run: stored tensors in, the graph's weights at a precision and an ONNX session out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tercet.checkpoint import QUERY_WEIGHTS, TILE_TERMS, ModelConfig, Precision, Weights, dequantize_rows, quantize_rows
from tercet.errors import CheckpointError


def runtime_weights(weights: Weights, config: ModelConfig, precision: Precision) -> dict[str, NDArray[Any]]:
    """The tensors that `tercet.models.graph` declares, by name, from those of model.safetensors."""
    ready: dict[str, NDArray[Any]] = {}
    for name, tensor in weights.items():
        layer, _, kind = name.rpartition(".")
        if name in ("sparse.terms", QUERY_WEIGHTS) or kind == "smooth":
            continue
        if name.startswith("sparse.decoder.rows") and not config.sparse_form.bonus:
            continue  # only the bonus asks for a single term's row
        if precision == "int8" and f"{layer}.smooth" in weights and kind == "weight":
            smooth = weights[f"{layer}.smooth"]
            integers, ready[f"{name}.scale"] = quantize_rows((tensor * smooth[:, None]).T)
            ready[name] = np.ascontiguousarray(integers.T)
            ready[f"{layer}.smooth.inverse"] = 1 / smooth
        else:
            ready[name] = tensor if tensor.dtype != np.float16 else tensor.astype(np.float32)
    return ready | _decoder(weights, config, precision) if "sparse" in config.heads else ready


def _decoder(weights: Weights, config: ModelConfig, precision: Precision) -> dict[str, NDArray[Any]]:
    """The decoder's rows of terms in tiles, and the column of each vocabulary index, which the bonus needs."""
    ready: dict[str, NDArray[Any]] = {}
    terms = weights["sparse.terms"].astype(np.int64)
    if config.sparse_form.bonus:
        columns = np.full(config.vocabulary_size, len(terms), np.int64)
        columns[terms] = np.arange(len(terms))
        ready["sparse.columns"] = columns
    rows, scales = weights["sparse.decoder.rows"][terms], weights["sparse.decoder.rows.scale"][terms]
    for tile, start in enumerate(range(0, len(terms), TILE_TERMS)):
        part = slice(start, start + TILE_TERMS)
        name = f"sparse.decoder.{tile}.weight"
        if precision == "int8":
            ready[name] = np.ascontiguousarray(rows[part].T)
            ready[f"{name}.scale"] = scales[part]
        else:
            ready[name] = np.ascontiguousarray(dequantize_rows(rows[part], scales[part]).T)
    return ready


def make_session(graph: bytes, weights: dict[str, NDArray[Any]]) -> onnxruntime.InferenceSession:
    """A session that takes the graph's structure from `graph` and its weights from memory.

    Raises:
        CheckpointError: they do not fit each other.
    """
    options = onnxruntime.SessionOptions()
    # Parallel over batches (see encode_documents), never inside one: two threads in one small product only wait.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's have no public base class
        first_line = str(error).splitlines()[0]
        raise CheckpointError(
            f"the graph does not fit the weights or is damaged ({first_line}); write it again"
        ) from error
