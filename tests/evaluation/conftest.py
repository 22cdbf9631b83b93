from __future__ import annotations

from pathlib import Path

import pytest

from tercet import HybridIndex
from tercet.evaluation import JudgedCollection, read_collection
from tests.evaluation.samples import write_folder
from tests.toys import ToyEncoder


@pytest.fixture
def collection(tmp_path: Path) -> JudgedCollection:
    return read_collection(write_folder(tmp_path / "small"))


@pytest.fixture
def index(collection: JudgedCollection, toy_encoder: ToyEncoder) -> HybridIndex:
    index = HybridIndex.in_memory(encoder=toy_encoder)
    index.add(collection.documents)
    return index
