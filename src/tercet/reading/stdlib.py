"""The standard library's docstrings as documents: a corpus that every Python has at hand. Nothing is imported."""

from __future__ import annotations

import ast
import inspect
import sysconfig
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from types import MappingProxyType

from tercet.reading.passages import DEFAULT_MAX_WORDS, count_words, split_text
from tercet.types import Document

#: Tests, programs, tables, what is on its way out, and what is installed below the library's folder.
_EXCLUDED = frozenset(
    "test tests idlelib turtledemo encodings pydoc_data distutils lib2to3 site-packages dist-packages".split()
)
#: Public names that are written in private files.
_PUBLIC_NAMES = MappingProxyType(
    {
        "_collections_abc": "collections.abc",
        "_pydatetime": "datetime",
        "_pydecimal": "decimal",
        "_pyio": "io",
        "pathlib._abc": "pathlib",
        "pathlib._local": "pathlib",
    }
)
_MIN_WORDS = 5

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def read_standard_library(modules: Collection[str] | None = None) -> Iterator[Document]:
    """The docstrings of public modules, classes and functions, in the order of the files.

    The id is the dotted name; a docstring longer than one passage goes on as "name#2". Metadata: `module`, `kind`
    ("module", "class", "function"), `file` below the library's folder, `line`.

    modules: names to be read with all below them, ("json", "concurrent.futures"); None reads all
    """
    root = Path(sysconfig.get_path("stdlib"))
    seen: set[str] = set()
    for path in _source_files(root):
        file = path.relative_to(root)
        module = _module_name(file)
        if module is None or not _is_wanted(module, modules):
            continue
        for name, kind, line, text in _docstrings(path, module):
            # An overload or a setter repeats the name; the first is the one that is documented.
            if name in seen:
                continue
            seen.add(name)
            metadata = {"module": module, "kind": kind, "file": file.as_posix(), "line": line}
            for number, passage in enumerate(split_text(text, max_words=DEFAULT_MAX_WORDS), start=1):
                document_id = name if number == 1 else f"{name}#{number}"
                words = passage.text if number == 1 else f"{name}\n{passage.text}"
                yield Document(words, id=document_id, metadata=metadata)


def _source_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py":
            yield path
        elif path.is_dir() and path.name not in _EXCLUDED:
            yield from _source_files(path)


def _module_name(file: Path) -> str | None:
    """The name that a program imports, or None where none should."""
    name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    if name in _PUBLIC_NAMES:
        return _PUBLIC_NAMES[name]
    is_private = any(part.startswith("_") or "-" in part for part in name.split("."))
    return None if is_private else name


def _is_wanted(module: str, modules: Collection[str] | None) -> bool:
    return modules is None or any(module == name or module.startswith(f"{name}.") for name in modules)


def _docstrings(path: Path, module: str) -> Iterator[tuple[str, str, int, str]]:
    """(dotted name, kind, line, text) of everything public that has a docstring worth finding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in string literals are not the reader's business
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            return  # templates and files for other versions
    yield from _text_of(tree, module, "module", 1, module)
    yield from _members(tree, module)


def _members(parent: ast.AST, prefix: str) -> Iterator[tuple[str, str, int, str]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.If | ast.Try):  # a definition for one platform
            yield from _members(node, prefix)
        elif isinstance(node, _Definition) and not node.name.startswith("_"):
            name = f"{prefix}.{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from _text_of(node, name, "class", node.lineno, name)
                yield from _members(node, name)
            else:
                signature = f"{name}({ast.unparse(node.args)})"
                yield from _text_of(node, name, "function", node.lineno, signature)


def _text_of(
    node: ast.Module | _Definition, name: str, kind: str, line: int, opening: str
) -> Iterator[tuple[str, str, int, str]]:
    docstring = ast.get_docstring(node, clean=False)
    if docstring and count_words(docstring) >= _MIN_WORDS:
        yield name, kind, line, f"{opening}\n{inspect.cleandoc(docstring)}"
