"""Everything tercet raises that a caller may want to catch.

    TercetError
    ├── CheckpointError         a model folder that is missing, incomplete, damaged or not of this kind
    ├── StoreError              the engine refused or failed
    │   ├── CollectionMismatch  the stored vectors were made by another model, or have other sizes
    │   ├── StoreLocked         another process has the directory open
    │   ├── StoreReadOnly       the directory cannot be written
    │   ├── StoreFull           too little disk is left to write safely
    │   └── StoreUnavailable    the server does not answer (the client's error is the cause)
    ├── InvalidDocument         also a ValueError: a document that can never be indexed
    ├── InvalidFilter           also a ValueError: a filter that cannot be read
    ├── UnreadableFile          also a ValueError: a file that cannot be turned into documents
    ├── InvalidTrainingData     also a ValueError: names every bad line of the training files
    ├── TrainingCollapsed       vectors died or went dense, or the loss is no number; says what to change
    └── MissingExtra            also an ImportError: names the pip line

Arguments that can never work raise `ValueError` or `TypeError`.
"""

from __future__ import annotations


class TercetError(Exception):
    """The root of tercet's own errors."""


class CheckpointError(TercetError):
    """A model folder is missing, incomplete, damaged or not of this kind."""


class StoreError(TercetError):
    """The engine refused or failed."""


class CollectionMismatch(StoreError):
    """The stored vectors were made by another model, or have other sizes, than the encoder in use."""


class StoreLocked(StoreError):
    """Another process has the directory open."""


class StoreReadOnly(StoreError):
    """The directory cannot be written."""


class StoreFull(StoreError):
    """Too little disk is left to write safely."""


class StoreUnavailable(StoreError):
    """The server does not answer."""


class InvalidDocument(TercetError, ValueError):
    """A document that can never be indexed: found, expected, what to do."""


class InvalidFilter(TercetError, ValueError):
    """A filter that cannot be read."""


class UnreadableFile(TercetError, ValueError):
    """A file that cannot be turned into documents."""


class InvalidTrainingData(TercetError, ValueError):
    """Training examples that cannot be learnt from: each with its file and line."""


class TrainingCollapsed(TercetError):
    """A run that can no longer learn: which vectors died or went dense, and what to change."""


class MissingExtra(TercetError, ImportError):
    """An optional part of tercet is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed; run: pip install 'tercet[{extra}]'")
