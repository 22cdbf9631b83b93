"""The package as such: what it exports, what it imports, what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import langchain_tercet


def test_every_exported_name_is_there() -> None:
    assert all(getattr(langchain_tercet, name) is not None for name in langchain_tercet.__all__)
    assert langchain_tercet.__version__ == version("langchain-tercet")
    assert (Path(langchain_tercet.__file__).parent / "py.typed").exists()


def test_use_imports_no_torch_and_no_langchain_but_its_core() -> None:
    code = """
import sys
from langchain_tercet import TercetReranker, TercetRetriever, TercetVectorStore
documents = TercetRetriever.from_texts(["a red apple", "a green pear"], k=1).invoke("apple")
assert TercetReranker().compress_documents(documents, "apple")[0].page_content == "a red apple"
assert TercetVectorStore.from_texts(["a red apple"]).similarity_search("apple")
heavy = {"torch", "transformers", "sentence_transformers", "langchain", "langchain_classic", "langchain_qdrant"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_public_names_of_tercet_are_used() -> None:
    for path in Path(langchain_tercet.__file__).parent.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith(("from tercet", "import tercet")):
                assert "._" not in line, f"{path.name}: {line}"
                assert " _" not in line, f"{path.name}: {line}"
