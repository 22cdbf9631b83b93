"""Files in, documents out: folders of text, JSONL, CSV, and the standard library's own docstrings."""

from __future__ import annotations

from tercet.reading.files import Skip, read_documents
from tercet.reading.passages import Passage, split_text
from tercet.reading.stdlib import read_standard_library

__all__ = ["Passage", "Skip", "read_documents", "read_standard_library", "split_text"]
