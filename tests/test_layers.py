"""Who may import whom, as a table: an import that points upwards fails with the row that forbids it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "tercet"

#: module or package → what of tercet it may import; a package stands for all its modules. Order: the way of the data.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "types": {"errors"},
    "filters": {"errors", "types"},
    "fusion": {"types"},
    "plan": {"types"},
    "checkpoint": {"errors"},
    "runtime": {"checkpoint", "errors"},
    "reading": {"reading", "errors", "types"},
    "observing": set(),
    "processors": set(),
    "scoring": {"types"},
    "merging": {"types"},
    "storage": {"merging", "types"},
    "encoders.base": {"types"},
    "encoders.mini": {"encoders.base", "checkpoint", "processors", "runtime", "scoring", "errors", "types"},
    "encoders.own_dense": {"encoders.base", "types"},
    "encoders.composed_tokens": {"encoders.base"},
    "encoders.parts": {"encoders.base", "encoders.composed_tokens", "encoders.mini", "errors", "types"},
    "encoders.composed": {
        "encoders.base",
        "encoders.mini",
        "encoders.parts",
        "checkpoint",
        "hub",
        "errors",
        "types",
    },
    "store.base": {"encoders.base", "errors", "filters", "storage", "types"},
    "store": {"store", "encoders.base", "errors", "filters", "processors", "scoring", "storage", "types"},
    "reranking": {"encoders.base", "scoring"},
    "hub": {"errors"},
    "model_card": {"checkpoint", "errors"},
    "models": {"models", "checkpoint", "hub", "model_card", "runtime", "errors"},
    "training": {"training", "models", "checkpoint", "errors"},
    "models.build": {"models", "training", "checkpoint", "errors"},  # the recipe of the shipped model: a use of both
    "query": {"encoders.base", "store.base", "filters", "fusion", "observing", "plan", "types"},
    "scope": {"errors", "filters", "types"},
    "intake": {"errors", "types"},
    "adding": {"encoders.base", "store.base", "errors", "intake", "progress", "scope", "types"},
    "joining": {"encoders.base", "store.base", "errors", "intake", "progress", "types"},
    "explaining": {
        "explaining",
        "display",
        "encoders.base",
        "store.base",
        "errors",
        "filters",
        "merging",
        "plan",
        "query",
        "scope",
        "types",
    },
    "index": {
        "adding",
        "explaining",
        "joining",
        "query",
        "scope",
        "storage",
        "intake",
        "encoders.base",
        "store.base",
        "store.readers",
        "errors",
        "filters",
        "observing",
        "plan",
        "processors",
        "progress",
        "types",
    },
    "ingest": {"index", "reading", "types"},
    "evaluation": {
        "evaluation",
        "explaining.teaching",
        "index",
        "query",
        "encoders.base",
        "fusion",
        "plan",
        "progress",
        "display",
        "types",
        "errors",
    },
    "cli.train": {"training", "index", "plan", "errors"},
    "cli.model": {"cli.options", "checkpoint", "hub", "model_card", "models", "reading", "display", "errors"},
    "demo": {"index", "reading", "display", "plan", "types", "errors"},
    "display": {"reading", "types", "plan"},
    "cli": {
        "cli",
        "explaining",
        "index",
        "ingest",
        "evaluation",
        "reading",
        "demo",
        "display",
        "plan",
        "types",
        "errors",
    },
}
#: What `HybridIndex.open` and its siblings choose between, inside functions: the one place that knows implementations.
CHOSEN_WHEN_OPENED = {
    "index": {"encoders.mini", "store.edge", "store.memory", "store.qdrant", "store.qdrant_joined"},
    "cli": {"store.edge", "store.manifest"},  # repairs what cannot be opened
}

MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def covers(rows: set[str], module: str) -> bool:
    return any(module == row or module.startswith(f"{row}.") for row in rows)


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "tercet":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tercet."):
            package = str(node.module).removeprefix("tercet.")
            modules = {
                f"{package}.{alias.name}" for alias in node.names if (SOURCE / package / f"{alias.name}.py").exists()
            }
            found |= modules or {package}
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    module = name_of(path)
    row = module if module in ALLOWED else module.split(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed = ALLOWED[row] | {"__version__"}
    at_top = imports(
        ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)], [])
    )

    assert {name for name in at_top if not covers(allowed, name)} == set()
    everywhere = allowed | CHOSEN_WHEN_OPENED.get(row, set())
    assert {name for name in imports(tree) if not covers(everywhere, name)} == set()


def test_indexing_and_searching_import_neither_torch_nor_a_framework() -> None:
    code = """
import sys
from tercet import HybridIndex
index = HybridIndex.in_memory()
index.add(["a red apple", "a green pear"])
assert index.search("apple")[0].text == "a red apple"
heavy = {"torch", "transformers", "sentence_transformers", "onnx", "langchain_core", "llama_index"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
