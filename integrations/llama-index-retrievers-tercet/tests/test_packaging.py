"""What is imported, and what is shipped."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "llama_index"
MODULES = sorted(SOURCE.rglob("*.py"))
NAMESPACES = ("embeddings", "postprocessor", "retrievers", "sparse_embeddings", "vector_stores")


def test_importing_and_retrieving_needs_neither_torch_nor_a_key() -> None:
    code = """
import sys
from llama_index.embeddings.tercet import TercetEmbedding
from llama_index.postprocessor.tercet import TercetRerank
from llama_index.retrievers.tercet import TercetRetriever
from llama_index.sparse_embeddings.tercet import TercetSparseEmbedding
from llama_index.vector_stores.tercet import TercetVectorStore
from tercet import HybridIndex
assert "onnxruntime" not in sys.modules
index = HybridIndex.in_memory()
index.add(["a red apple", "a green pear"])
assert TercetRetriever(index).retrieve("apple")[0].text == "a red apple"
heavy = {"torch", "transformers", "sentence_transformers", "openai", "langchain_core"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_namespaces_belong_to_everybody() -> None:
    shared = [SOURCE, *(SOURCE / name for name in NAMESPACES)]

    assert [folder for folder in shared if (folder / "__init__.py").exists()] == []
    assert sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__") == sorted(
        NAMESPACES
    )
    assert all((SOURCE / name / "tercet" / "py.typed").exists() for name in NAMESPACES)


def test_llamahub_finds_the_retriever() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hub = settings["tool"]["llamahub"]
    module = __import__(hub["import_path"], fromlist=["*"])

    assert set(hub["class_authors"]) <= set(module.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: ".".join(path.relative_to(SOURCE).with_suffix("").parts))
def test_only_public_names_of_tercet_are_used(path: Path) -> None:
    imported = [
        part
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tercet"
        for part in [*(node.module or "").split("."), *(alias.name for alias in node.names)]
    ]
    assert [name for name in imported if name.startswith("_")] == []
