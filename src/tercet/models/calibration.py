"""What int8 needs to know of a model's activations: a checkpoint and sample texts in, factors and ranges out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tercet.checkpoint import Checkpoint, token_id
from tercet.models.graph import build_calibration_graph
from tercet.runtime import make_session, runtime_weights


@dataclass(frozen=True, slots=True)
class Calibration:
    """By linear layer.

    smooth: (inputs,) each, what every input channel is divided by and its weights are multiplied by
    ranges: least and greatest input after that division
    """

    smooth: Mapping[str, NDArray[np.float32]]
    ranges: Mapping[str, tuple[float, float]]


def calibrate(checkpoint: Checkpoint, texts: Sequence[str]) -> Calibration:
    """Run the exact graph over these texts and look at what goes into each linear layer."""
    weights = checkpoint.weights()
    least, most = _channel_ranges(checkpoint, texts)
    smooth, ranges = {}, {}
    for layer in least:
        factors = np.ones(len(least[layer]), np.float32)
        if f"{layer}.weight" in weights:  # the decoder shares its input between tiles, and has no large channels
            smooth[layer] = factors = smoothing_factors(np.maximum(np.abs(least[layer]), np.abs(most[layer])))
        ranges[layer] = float((least[layer] / factors).min()), float((most[layer] / factors).max())
    return Calibration(smooth, ranges)


def smoothing_factors(reach: NDArray[np.float32]) -> NDArray[np.float32]:
    """√reach of each channel: half of what makes a channel hard to round moves into its weights.

    SmoothQuant (Xiao et al., 2023) with α = ½, without its division by the weights' own reach, which made the vectors
    worse here (cosine to f32 .982; without smoothing .993, so .997).

    reach: (inputs,) greatest magnitude of each channel
    returns: (inputs,), with a geometric mean of 1
    """
    factors = np.sqrt(np.maximum(reach, 1e-5))
    smooth: NDArray[np.float32] = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
    return smooth


def _channel_ranges(
    checkpoint: Checkpoint, texts: Sequence[str]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    graph = build_calibration_graph(checkpoint.config).SerializeToString()
    session = make_session(graph, runtime_weights(checkpoint.weights(), checkpoint.config, "f32"))
    layers = [output.name for output in session.get_outputs()]
    least: dict[str, NDArray[np.float32]] = {}
    most: dict[str, NDArray[np.float32]] = {}
    for inputs in _inputs(checkpoint, texts):
        for layer, values in zip(layers, session.run(layers, inputs), strict=True):
            low, high = values[0].min(axis=0), values[0].max(axis=0)
            least[layer] = np.minimum(least.get(layer, low), low)
            most[layer] = np.maximum(most.get(layer, high), high)
    return least, most


def _inputs(checkpoint: Checkpoint, texts: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
    """Each text as documents are read and, where these differ by more than their prompt, as queries are."""
    config, tokenizer = checkpoint.config, checkpoint.tokenizer()
    sides = [(config.document_marker, config.max_document_tokens, 0)]
    if config.query_marker or config.query_augmentation:
        sides.append((config.query_marker, config.max_query_tokens, config.query_augmentation))
    for encoding in tokenizer.encode_batch(list(texts)):
        for marker, limit, augmented in sides:
            inserted = [token_id(tokenizer, marker, config.name)] if marker else []
            read = [*encoding.ids[:1], *inserted, *encoding.ids[1:]][:limit]
            words = [*encoding.special_tokens_mask[:1], *(1 for _ in inserted), *encoding.special_tokens_mask[1:]]
            missing = max(0, augmented - len(read))
            attended = [1] * len(read) + [int(config.attend_to_augmentation)] * missing
            masks = [token_id(tokenizer, "[MASK]", config.name)] * missing if missing else []
            yield {
                "input_ids": np.array([read + masks]),
                "attention_mask": np.array([attended], np.int32),
                "word_mask": np.array([[1 - special for special in words[:limit]] + [0] * missing], np.int32),
            }
