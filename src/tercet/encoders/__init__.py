"""Text to NumPy values: the three-headed runtime, or sentence-transformers checkpoints composed into one encoder."""
