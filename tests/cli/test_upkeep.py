from __future__ import annotations

import json
from contextlib import closing

import pytest

from tercet.errors import StoreError
from tercet.store.edge import EdgeStore
from tercet.types import Document, Record
from tests.cli.commands import Run, ids_found
from tests.toys import ToyEncoder


def poison(encoder: ToyEncoder) -> Record:
    """What `SparseVector` refuses to be: more indices than values, at which the engine panics and its log breaks."""
    [embedding] = encoder.encode_documents(["rotate the keys"])
    object.__setattr__(embedding.sparse, "values", embedding.sparse.values[:1])
    document = Document("rotate the keys")
    return Record(document, embedding, document.content_hash())


def test_info_tells_the_model_and_the_size(indexed: Run) -> None:
    information = json.loads(indexed("info", "--json").stdout)

    assert (information["encoder"], information["documents"]) == ("toy", 3)
    assert "toy" in indexed("info").stdout


def test_delete_asks_first(own_index: Run) -> None:
    declined = own_index("delete", "--where", "source=docs/keys.md", stdin="n\n")
    assert (declined.exit_code, json.loads(own_index("info", "--json").stdout)["documents"]) == (1, 3)
    assert "Delete 2 documents?" in declined.stderr

    accepted = own_index("delete", "--where", "source=docs/keys.md", stdin="y\n")
    assert (accepted.exit_code, json.loads(own_index("info", "--json").stdout)["documents"]) == (0, 1)


def test_delete_by_id_counts_what_there_was(own_index: Run) -> None:
    result = own_index("delete", "docs/keys.md#storage/1", "unknown", "--yes", "--json")

    assert json.loads(result.stdout) == {"deleted": 1}
    assert "docs/keys.md#storage/1" not in ids_found(own_index("search", "vault", "--json"))


def test_compact_keeps_every_document(own_index: Run) -> None:
    assert own_index("compact").exit_code == 0
    assert json.loads(own_index("info", "--json").stdout)["documents"] == 3


def test_repair_leaves_an_index_that_opens_as_it_is(own_index: Run) -> None:
    result = own_index("repair", "kb", "--yes")

    assert result.stdout == "nothing to repair: kb opens\n"
    assert json.loads(own_index("info", "--json").stdout)["documents"] == 3


def test_repair_asks_first_and_then_makes_the_index_open_again(own_index: Run) -> None:
    encoder = ToyEncoder()
    with closing(EdgeStore.open("kb", encoder.spec)) as store, pytest.raises(StoreError):
        store.upsert([poison(encoder)])
    assert own_index("search", "vault").exit_code == 1

    declined = own_index("repair", "kb", stdin="n\n")
    assert (declined.exit_code, "may be lost" in declined.stderr) == (1, True)
    assert own_index("search", "vault").exit_code == 1

    accepted = own_index("repair", "kb", "--yes")
    assert (accepted.exit_code, accepted.stdout.startswith("repaired; the damaged part lies at")) == (0, True)
    assert ids_found(own_index("search", "vault", "--json", "-k", "1")) == ["docs/keys.md#storage/1"]
