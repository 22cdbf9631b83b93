"""Which documents an index sees: all of them, or those of one tenant.

A tenant's view cannot be talked out of its filter: it is joined to every question below the caller's own, and what is
written gets the tenant's stamp and an id of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote

from tercet.errors import InvalidDocument
from tercet.filters import And, AnyOf, Filter, with_ids
from tercet.types import Document


class Scope:
    """Everything that is stored, as it is stored."""

    def condition(self, where: Filter | None) -> Filter | None:
        """The filter for a question."""
        return where

    def owns(self, document: Document) -> bool:
        return True

    def stored(self, document: Document) -> Document:
        """A caller's document as it is kept."""
        return document

    def shown(self, document: Document) -> Document:
        """A kept document as its caller knows it."""
        return document

    def stored_ids(self, id: str) -> tuple[str, ...]:
        """The ids under which a caller's document may be kept."""
        return (id,)

    def shown_id(self, id: str) -> str:
        return id


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class Tenant(Scope):
    """The documents whose metadata name one tenant.

    Its own documents are kept as "tenant:id", so that two tenants may use the same id. Documents that were written with
    the tenant's name in their metadata, past any view, are seen under the ids they have.
    """

    name: str
    key: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"a tenant is a name, got {self.name!r}; for all documents use the index itself")
        if not isinstance(self.key, str) or not self.key or "." in self.key:
            raise ValueError(f"key is an outermost metadata key without a dot, got {self.key!r}")

    def condition(self, where: Filter | None) -> Filter:
        mine = AnyOf(self.key, (self.name,))
        return mine if where is None else And((mine, with_ids(where, self.stored_ids)))

    def owns(self, document: Document) -> bool:
        return document.metadata.get(self.key) == self.name

    def stored(self, document: Document) -> Document:
        stamp = document.metadata.get(self.key, self.name)
        if stamp != self.name:
            raise InvalidDocument(
                f"document {document.id!r} names another {self.key} than {self.name!r}, whose view this is; "
                f"leave {self.key!r} out of its metadata, or add it through the right view"
            )
        return replace(document, id=self._prefix + document.id, metadata={**document.metadata, self.key: self.name})

    def shown(self, document: Document) -> Document:
        return replace(document, id=self.shown_id(document.id))

    def stored_ids(self, id: str) -> tuple[str, ...]:
        return (self._prefix + id, id)

    def shown_id(self, id: str) -> str:
        return id.removeprefix(self._prefix)

    @property
    def _prefix(self) -> str:
        # Escaped, a name holds no colon: tenant "a" with id "b:c" is not tenant "a:b" with id "c".
        return f"{quote(self.name, safe='')}:"
