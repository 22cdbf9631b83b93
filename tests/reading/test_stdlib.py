from __future__ import annotations

import functools
import inspect
import subprocess
import sys

from tercet.reading import read_standard_library


def test_a_document_is_a_public_name_with_its_signature_and_docstring() -> None:
    documents = {document.id: document for document in read_standard_library(["functools"])}

    found = documents["functools.total_ordering"]
    assert found.text == f"functools.total_ordering(cls)\n{inspect.getdoc(functools.total_ordering)}"
    line = inspect.getsourcelines(functools.total_ordering)[1]
    assert found.metadata == {"module": "functools", "kind": "function", "file": "functools.py", "line": line}
    assert documents["functools.partialmethod"].metadata["kind"] == "class"
    assert not any(part.startswith("_") for id_ in documents for part in id_.split("."))


def test_modules_are_read_with_all_below_them_and_no_others() -> None:
    modules = {document.metadata["module"] for document in read_standard_library(["json", "datetime"])}

    assert {"json", "json.decoder", "datetime"} <= modules
    assert {module.split(".")[0] for module in modules} == {"json", "datetime"}


def test_a_long_docstring_goes_on_under_the_same_name() -> None:
    documents = {document.id: document for document in read_standard_library(["subprocess"])}

    assert documents["subprocess#2"].text.startswith("subprocess\n")
    assert documents["subprocess#2"].metadata == documents["subprocess"].metadata


def test_reading_imports_none_of_the_modules_it_reads() -> None:
    program = (
        "import sys; from tercet.reading import read_standard_library;"
        "found = list(read_standard_library(['turtle', 'this']));"
        "print(len(found), 'turtle' in sys.modules, 'this' in sys.modules)"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    count, *imported = printed.split()
    assert int(count) > 50
    assert imported == ["False", "False"]
