"""Text to NumPy values: the three-headed runtime, or any sentence-transformers checkpoints composed into one encoder."""
