"""tercet: hybrid retrieval in one model pass, with dense, SPLADE and late interaction fused by rank."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tercet.errors import TercetError
    from tercet.explaining.comparison import Comparison
    from tercet.explaining.explanation import Explanation
    from tercet.explaining.why_not import WhyNot
    from tercet.explaining.words import WordImpact, word_impacts
    from tercet.index import HybridIndex
    from tercet.plan import SearchPlan
    from tercet.storage import StorageOptions
    from tercet.types import FRAMEWORK_KEY, AddReport, Document, Failure, Hit, StageScore, TermMatch

__version__ = "0.1.0"
__all__ = [
    "FRAMEWORK_KEY",
    "AddReport",
    "Comparison",
    "Document",
    "Explanation",
    "Failure",
    "Hit",
    "HybridIndex",
    "SearchPlan",
    "StageScore",
    "StorageOptions",
    "TercetError",
    "TermMatch",
    "WhyNot",
    "WordImpact",
    "__version__",
    "word_impacts",
]

_HOMES = {
    "FRAMEWORK_KEY": "tercet.types",
    "AddReport": "tercet.types",
    "Comparison": "tercet.explaining.comparison",
    "Document": "tercet.types",
    "Explanation": "tercet.explaining.explanation",
    "Failure": "tercet.types",
    "Hit": "tercet.types",
    "HybridIndex": "tercet.index",
    "SearchPlan": "tercet.plan",
    "StageScore": "tercet.types",
    "StorageOptions": "tercet.storage",
    "TercetError": "tercet.errors",
    "TermMatch": "tercet.types",
    "WhyNot": "tercet.explaining.why_not",
    "WordImpact": "tercet.explaining.words",
    "word_impacts": "tercet.explaining.words",
}


def __getattr__(name: str) -> object:
    # Imported when asked for: `import tercet` stays quick in tools that only look at the version or the errors.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tercet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
