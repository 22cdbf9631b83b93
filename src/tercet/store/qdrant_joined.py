"""A collection that another program filled, joined in place: its dense vectors, ids and payload stay as they are.

What it lacks, the sparse vector and the multi-vector of each document, is filled in beside them under names of their
own, and the other program goes on as before. A point that it writes anew loses what was filled in; the next `attach`
counts it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from qdrant_client import QdrantClient, models

from tercet.encoders.base import EncoderSpec
from tercet.errors import CollectionMismatch, InvalidDocument, StoreError
from tercet.filters import Filter
from tercet.storage import StorageOptions
from tercet.store.base import Unfilled
from tercet.store.checks import check_records
from tercet.store.layouts import JoinedLayout, LangChainLayout, LayoutName, LlamaIndexLayout
from tercet.store.payload import ENCODER, TERMS, split_by_bytes
from tercet.store.points import Point, stored_of
from tercet.store.qdrant import QdrantStore, connect, version_numbers
from tercet.types import DENSE, LATE, SPARSE, Record, Stored

#: Servers can give a live collection another named vector since then.
NAMED_VECTORS_SINCE = (1, 18)
#: Points that are read, encoded and filled together.
FILL_BATCH = 64

_LAYOUTS: dict[LayoutName, type[JoinedLayout]] = {"langchain": LangChainLayout, "llama-index": LlamaIndexLayout}


class JoinedStore(QdrantStore):
    """Implements `tercet.store.base.Store` and `tercet.store.base.Fillable` over somebody else's collection."""

    _pending = 0

    @classmethod
    def attach(
        cls,
        server: str | QdrantClient,
        collection: str,
        spec: EncoderSpec,
        *,
        layout: LayoutName,
        dense_vector: str | None = None,
        api_key: str | None = None,
        prefer_grpc: bool = False,
        timeout_seconds: float = 60,
        storage: StorageOptions | None = None,
    ) -> JoinedStore:
        """Open a collection that langchain-qdrant or llama-index-vector-stores-qdrant made.

        Args:
            server: a URL, or a client that is then yours to close
            collection: its name
            spec: of an encoder whose dense vectors are those that are stored
            layout: "langchain" or "llama-index"
            dense_vector: the name of their dense vector, where there are several; "" is the unnamed one
            api_key: see `QdrantStore.open`
            prefer_grpc: see `QdrantStore.open`
            timeout_seconds: see `QdrantStore.open`
            storage: how the token vectors that are filled in are kept, see `QdrantStore.open`

        Raises:
            CollectionMismatch: the stored vectors cannot be this encoder's, or another encoder filled in vectors.
            StoreError: there is no such collection, or the server cannot add named vectors to one.
            StoreUnavailable: the server does not answer.
        """
        if layout not in _LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(sorted(_LAYOUTS))}, got {layout!r}")
        client, place = connect(server, api_key=api_key, prefer_grpc=prefer_grpc, timeout_seconds=timeout_seconds)
        store = cls(client, collection, spec, _LAYOUTS[layout](dense=""), place=place, version="", storage=storage)
        store._owns_client = client is not server
        try:
            store._join(_LAYOUTS[layout], dense_vector)
        except BaseException:
            store.close()
            raise
        return store

    def pending(self) -> int:
        return self._pending

    def sample(self, count: int) -> list[Stored]:
        names = [self._layout.vectors[DENSE]]
        points, _ = self._ask(self._client.scroll, self._collection, limit=count, with_payload=True, with_vectors=names)
        return [stored_of(point, [DENSE], self._layout) for point in points]

    def unfilled(self) -> Iterator[list[Unfilled]]:
        offset = None
        while True:
            points, offset = self._ask(
                self._client.scroll,
                self._collection,
                models.Filter(must=[_UNFILLED]),
                limit=FILL_BATCH,
                offset=offset,
                with_payload=True,
            )
            if points:
                yield [Unfilled(str(point.id), self._readable(point)) for point in points]
            if offset is None:
                return

    def pass_over(self, key: str) -> None:
        entry = {"id": key, "encoder": self._fingerprint}
        self._ask(self._client.set_payload, self._collection, {"tercet": entry}, points=[key], wait=True)
        self._pending = max(0, self._pending - 1)

    def fill(self, records: Sequence[Record]) -> None:
        records = list(map(self._storage.kept, records))
        # Of these embeddings the dense vector is not used: that of the collection stays.
        for record in records:
            check_records([record], replace(self._spec, dense_dim=len(record.embedding.dense)))
        points = (Point.of(record, self._fingerprint, self._layout) for record in records)
        for batch in split_by_bytes(points, self.max_request_bytes):
            operations: list[Any] = []
            for point in batch:
                vectors = self._vectors(point)
                del vectors[self._layout.vectors[DENSE]]
                new = models.UpdateVectors(points=[models.PointVectors(id=point.id, vector=vectors)])
                own = models.SetPayload(payload={"tercet": point.payload["tercet"]}, points=[point.id])
                # The payload last: it says that the vectors are there.
                operations += [models.UpdateVectorsOperation(update_vectors=new)]
                operations += [models.SetPayloadOperation(set_payload=own)]
            self._ask(self._client.batch_update_points, self._collection, operations, wait=True)
            for field, of_dates in self._fields_to_index(point.payload for point in batch):
                kind = models.PayloadSchemaType
                self._create_index(field, kind.DATETIME if of_dates else kind.FLOAT)
        # Counted when joined, and not again for each batch: the server would look at every point each time.
        self._pending = max(0, self._pending - len(records))

    def _join(self, layout: type[JoinedLayout], dense_vector: str | None) -> None:
        self._version = self._ask(lambda: self._client.info().version)
        self._check_version()
        where = f"the collection {self._collection!r} at {self._place}"
        if not self._ask(self._client.collection_exists, self._collection):
            raise StoreError(f"there is no collection {self._collection!r} at {self._place}; check the name")
        info = self._ask(self._client.get_collection, self._collection)
        self._indexed |= set(info.payload_schema)
        params = info.config.params
        dense = _dense_vectors(params.vectors)
        name = dense_vector if dense_vector is not None else next(iter(dense), "")
        if name not in dense or (dense_vector is None and len(dense) > 1):
            raise CollectionMismatch(
                f"{where} has the dense vectors {', '.join(map(repr, dense)) or 'none'}; "
                f"name one of them with dense_vector"
            )
        if dense[name].size != self._spec.dense_dim:
            raise CollectionMismatch(
                f"{where} stores dense vectors of size {dense[name].size}, but {self._spec.name!r} makes size "
                f"{self._spec.dense_dim}; give the model that made them (tercet.encoders.own_dense.OwnDense)"
            )
        if dense[name].distance not in (models.Distance.COSINE, models.Distance.DOT):
            raise CollectionMismatch(f"{where} compares dense vectors by {dense[name].distance}, tercet by cosine")
        self._layout = layout(dense=name)
        named = params.vectors if isinstance(params.vectors, dict) else {}
        if late := named.get(self._layout.vectors[LATE]):
            filled = models.Filter(must_not=[_UNFILLED])
            points, _ = self._ask(self._client.scroll, self._collection, filled, limit=1, with_payload=[ENCODER])
            self._adopt_storage(where, late.datatype, points)
        self._create_vectors(set(named) | set(params.sparse_vectors or {}))
        self._check_encoder(where)
        if TERMS not in self._indexed:
            self._create_index(TERMS, models.PayloadSchemaType.KEYWORD)
        self._count_pending()

    def _create_vectors(self, there: set[str]) -> None:
        late = models.DenseVectorConfig(
            size=self._spec.late_dim,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            datatype=models.VectorStorageDatatype(self._late_datatype()),
        )
        configs: dict[str, models.VectorNameConfig] = {
            self._layout.vectors[LATE]: models.DenseVectorNameConfig(dense=late),
            self._layout.vectors[SPARSE]: models.SparseVectorNameConfig(
                sparse=models.SparseVectorConfig(datatype=models.VectorStorageDatatype.FLOAT16)
            ),
        }
        missing = {name: config for name, config in configs.items() if name not in there}
        if missing and version_numbers(self._version) < NAMED_VECTORS_SINCE:
            raise StoreError(
                f"{self._place} runs Qdrant {self._version}, which cannot add vectors to a collection that is there "
                f"(1.18 can); update it, or index the documents into a collection of their own"
            )
        for name, config in missing.items():
            self._ask(self._client.create_vector_name, self._collection, name, config)

    def _check_encoder(self, where: str) -> None:
        other = models.Filter(must_not=[_UNFILLED, _filled_by(self._fingerprint)])
        points, _ = self._ask(self._client.scroll, self._collection, other, limit=1, with_payload=[ENCODER])
        for point in points:
            raise CollectionMismatch(
                f"the sparse vectors in {where} were filled in by an encoder with fingerprint "
                f"{(point.payload or {}).get('tercet', {}).get('encoder')}, but {self._spec.name!r} has "
                f"{self._fingerprint}; use the encoder that filled them in"
            )

    def _count_pending(self) -> None:
        unfilled = models.Filter(must=[_UNFILLED])
        self._pending = self._ask(self._client.count, self._collection, unfilled, exact=True).count

    def _readable(self, point: models.Record) -> Stored | InvalidDocument:
        try:
            # Made anew, it is checked: what another program stored may be no document of ours.
            return Stored(replace(self._layout.document_of(point.payload, point.id)))
        except InvalidDocument as error:
            return error
        except StoreError as error:
            return InvalidDocument(str(error))

    def _check_answerable(self, stages: Sequence[str], where: Filter | None) -> None:
        # What documents without filled-in vectors would silently miss.
        if self._pending and (where is not None or set(stages) - {DENSE}):
            raise StoreError(
                f"{self._pending:,} documents of {self!r} have no sparse vector, no multi-vector and nothing to filter "
                f"by yet; call index.backfill(), or search with SearchPlan(stages=('dense',)) and without a filter"
            )

    def __repr__(self) -> str:
        return f"JoinedStore({self._place!r}, {self._collection!r}, {self._layout.name}, encoder={self._spec.name!r})"


_UNFILLED = models.IsEmptyCondition(is_empty=models.PayloadField(key=ENCODER))


def _filled_by(fingerprint: str) -> models.FieldCondition:
    return models.FieldCondition(key=ENCODER, match=models.MatchValue(value=fingerprint))


def _dense_vectors(vectors: Any) -> dict[str, models.VectorParams]:  # noqa: ANN401 one, several by name, or none
    """By name, the unnamed one as "", without multi-vectors."""
    if isinstance(vectors, models.VectorParams):
        vectors = {"": vectors}
    return {name: params for name, params in (vectors or {}).items() if params.multivector_config is None}
