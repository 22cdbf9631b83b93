"""The encoder that a class of this package shares with an index, or the shipped one."""

from __future__ import annotations

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
