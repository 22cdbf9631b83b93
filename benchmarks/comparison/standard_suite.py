"""LangChain's standard suite for the store that the environment variable COMPARED names; run by checks.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from comparison import contestants
from comparison.corpus import RememberingEncoder


@pytest.fixture(scope="session")
def encoder() -> RememberingEncoder:
    return RememberingEncoder()


class TestStandard(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, encoder: RememberingEncoder) -> Iterator[VectorStore]:
        contestant = getattr(contestants, os.environ["COMPARED"])(encoder)
        contestant.open()
        yield contestant.native
        contestant.close()
