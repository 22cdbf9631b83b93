"""Shared by all tests: a toy encoder, and a guard that no test reaches for the network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Set before any test module imports a library that reads them once.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")

from tests.toys import ToyEncoder


@pytest.fixture
def toy_encoder() -> ToyEncoder:
    return ToyEncoder()


@pytest.fixture(scope="session")
def tiny_trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT folder of Hugging Face's form."""
    from tests.tiny import write_trunk

    return write_trunk(tmp_path_factory.mktemp("tiny") / "trunk")


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_trunk: Path) -> Path:
    """A tercet checkpoint on that trunk; copy it before you change a file."""
    from tests.tiny import write_tiny_checkpoint

    return write_tiny_checkpoint(tiny_trunk.parent / "checkpoint", tiny_trunk).folder
