"""Shared by all tests: one loaded model, and an index on each engine that needs no server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.documents import Document

# Set before any test module imports a library that reads them once.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", LANGSMITH_TRACING="false")

from tercet import HybridIndex
from tercet.encoders.mini import MiniEncoder

DOCUMENTS = [
    Document(id="keys", page_content="Rotate the signing keys every 90 days.", metadata={"lang": "en", "year": 2026}),
    Document(id="backup", page_content="Backups run every night at two.", metadata={"lang": "en", "year": 2024}),
    Document(id="clés", page_content="Les clés sont renouvelées tous les 90 jours.", metadata={"lang": "fr"}),
    Document(id="cat", page_content="The cat sat on the mat.", metadata={"lang": "en", "tags": ["pets", "fun"]}),
    Document(id="dog", page_content="The dog chased the cat through the garden.", metadata={"tags": ["pets"]}),
]


@pytest.fixture(scope="session")
def encoder() -> MiniEncoder:
    return MiniEncoder(threads=1)


@pytest.fixture(params=["embedded", "memory"])
def index(request: pytest.FixtureRequest, tmp_path: Path, encoder: MiniEncoder) -> Iterator[HybridIndex]:
    """Empty, on each engine in turn."""
    with (
        HybridIndex.open(tmp_path / "kb", encoder=encoder)
        if request.param == "embedded"
        else HybridIndex.in_memory(encoder=encoder)
    ) as opened:
        yield opened


@pytest.fixture
def memory(encoder: MiniEncoder) -> HybridIndex:
    """Empty, in memory: for what does not depend on the engine."""
    return HybridIndex.in_memory(encoder=encoder)
