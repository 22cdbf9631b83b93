"""Shared by all tests: a toy encoder, and a guard that no test reaches for the network."""

from __future__ import annotations

import os

import pytest

# Set before any test module imports a library that reads them once.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")

from tests.toys import ToyEncoder


@pytest.fixture
def toy_encoder() -> ToyEncoder:
    return ToyEncoder()
