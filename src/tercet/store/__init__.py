"""Where records live: in memory (exact, the oracle), embedded (Qdrant Edge, the default) or on a Qdrant server."""
