"""Another program's collection: is it of this encoder's dense model, and what do its documents lack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tercet.encoders.base import Encoder, without_dense
from tercet.errors import CollectionMismatch, InvalidDocument
from tercet.intake import Tally
from tercet.progress import Progress
from tercet.store.base import Fillable
from tercet.types import AddReport, Document, Record, Stored


def check_dense_model(encoder: Encoder, sample: Sequence[Stored], place: str) -> None:
    """Raises CollectionMismatch if the encoder's dense vectors share nothing with those of some stored texts."""
    stored = [(found.document.text, found.dense) for found in sample if found.dense is not None]
    ours = encoder.encode_documents(text for text, _ in stored)
    cosines = [
        float(embedding.dense @ dense / (np.linalg.norm(embedding.dense) * np.linalg.norm(dense)))
        for embedding, (_, dense) in zip(ours, stored, strict=True)
    ]
    # Some programs embed metadata together with the text, so equal models may differ; other models share nothing.
    if cosines and max(cosines) < 0.5:
        raise CollectionMismatch(
            f"the dense vectors of {place} were made by another model than {encoder.spec.name!r}: their cosine with "
            f"ours is {max(cosines):.2f} at best over {len(cosines)} documents; give the model that made them "
            f"(tercet.encoders.own_dense.OwnDense)"
        )


def fill_in(store: Fillable, encoder: Encoder, *, progress: bool | None) -> AddReport:
    """See `HybridIndex.backfill`."""
    encoder = without_dense(encoder)
    tally = Tally("skip")
    with Progress("filling in", total=store.pending(), show=progress) as bar:
        for batch in store.unfilled():
            documents: list[Document] = []
            for key, found in batch:
                if isinstance(found, InvalidDocument):
                    tally.fail(len(tally.failed) + len(tally.updated), key, found)
                    store.pass_over(key)
                else:
                    documents.append(found.document)
            embeddings = encoder.encode_documents(document.text for document in documents)
            records = [
                Record(document, embedding, document.content_hash())
                for document, embedding in zip(documents, embeddings, strict=True)
            ]
            store.fill(records)
            tally.updated += [document.id for document in documents]
            tally.truncated += [record.document.id for record in records if record.embedding.truncated]
            bar.advance(len(batch), note=tally.note())
    return tally.report(str)
