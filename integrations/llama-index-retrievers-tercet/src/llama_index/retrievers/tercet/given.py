"""What a class of this package is given: an encoder, or else the shipped one; an index that is open."""

from __future__ import annotations

from tercet import HybridIndex
from tercet.encoders.base import Encoder


def given_or_shipped(encoder: Encoder | None) -> Encoder:
    """Raises TypeError for what is no encoder, and tells what to give instead."""
    if encoder is None:
        # Imported when it is needed: it opens onnxruntime.
        from tercet.encoders.mini import MiniEncoder

        return MiniEncoder()
    if not hasattr(encoder, "encode_query"):
        raise TypeError(f"an encoder is needed, got a {type(encoder).__name__}; of an index, give index.encoder")
    return encoder


def open_index(index: HybridIndex) -> HybridIndex:
    """Raises TypeError for what is no index, and tells what to give instead."""
    if not isinstance(index, HybridIndex):
        raise TypeError(
            f"a tercet.HybridIndex is needed, got a {type(index).__name__}; HybridIndex.open(path) opens one"
        )
    return index
