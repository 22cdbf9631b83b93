"""tercet: hybrid retrieval in one model pass, with dense, SPLADE and late interaction fused by rank."""

__version__ = "0.1.0"
