"""Several models as one encoder: folders or hub names in, embeddings out.

For a user's own models, or ones larger than tercet-mini. Each head comes from a checkpoint of ours (`tercet model
import` makes one of a SPLADE or a ColBERT), or from sentence-transformers, which needs tercet[models]: any
`SentenceTransformer` for the dense vector, any `SparseEncoder` (SPLADE) and any `MultiVectorEncoder` (ColBERT: its own,
PyLate's and Stanford's folders).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tercet.checkpoint import CONFIG_FILE, default_checkpoint
from tercet.encoders.base import EncoderSpec, TextTokens
from tercet.encoders.mini import MiniEncoder
from tercet.encoders.parts import Texts, dense_part, fingerprint, late_part, sparse_part
from tercet.errors import MissingExtra
from tercet.hub import find_model
from tercet.types import Embedding

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder

#: Documents that are encoded together; the models sort them by length.
WINDOW = 64


class ComposedEncoder:
    """Dense, sparse and multi-vector of a text from up to three models, one pass each.

    Give loaded models, or use `ComposedEncoder.load` with names. The prompts are the models' own. A checkpoint that is
    given for two heads runs once for both.

    Raises:
        CheckpointError: a checkpoint is given for a head that it does not hold.
    """

    def __init__(
        self,
        dense: SentenceTransformer | MiniEncoder,
        sparse: SparseEncoder | MiniEncoder,
        late: MultiVectorEncoder | MiniEncoder,
    ) -> None:
        self._dense, self._sparse, self._late = dense_part(dense), sparse_part(sparse), late_part(late)
        probe = self._embeddings(["a"], query=False)[0]
        self._spec = EncoderSpec(
            name="composed of three models",
            fingerprint=fingerprint([self._dense, self._sparse, self._late]),
            dense_dim=len(probe.dense),
            late_dim=probe.multi_vector.vectors.shape[1],
            vocabulary_size=self._sparse.vocabulary_size,
        )

    @classmethod
    def load(cls, *, dense: str, sparse: str, late: str, device: str | None = None) -> ComposedEncoder:
        """Load each head's model: "tercet-mini", a folder, or a hub's "organisation/model".

        A folder holds a checkpoint of ours or a model that sentence-transformers loads. Only safetensors weights, and
        no code that comes with a model.

        device: of the models that sentence-transformers runs

        Raises:
            CheckpointError: a model is not there, its weights are pickled, or it does not hold that head.
            MissingExtra: sentence-transformers is not installed, and a model needs it.
        """
        named: dict[str, MiniEncoder] = {}
        return cls(
            _load("SentenceTransformer", dense, device, named),
            _load("SparseEncoder", sparse, device, named),
            _load("MultiVectorEncoder", late, device, named),
        )

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    def encode_query(self, query: str) -> Embedding:
        if not query.strip():
            raise ValueError("the query is empty; ask for at least one word")
        return self._embeddings([query], query=True)[0]

    def encode_queries(self, queries: Sequence[str]) -> list[Embedding]:
        return [self.encode_query(query) for query in queries]

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        stream = iter(documents)
        while window := list(itertools.islice(stream, WINDOW)):
            yield from self._embeddings(window, query=False)

    def terms(self, indices: Iterable[int]) -> list[str]:
        return self._sparse.terms(indices)

    # --- where the numbers come from: implements tercet.encoders.base.Explainable, as far as the models tell ---

    def query_tokens(self, query: str) -> TextTokens:
        return TextTokens(self._sparse.tokens(query, "query"), self._late.tokens(query, "query"))

    def document_tokens(self, document: str) -> TextTokens:
        return TextTokens(self._sparse.tokens(document, "document"), self._late.tokens(document, "document"))

    def query_origins(self, query: str) -> Mapping[int, int]:
        return self._sparse.origins(query, "query")

    def document_origins(self, document: str) -> Mapping[int, int]:
        return self._sparse.origins(document, "document")

    def __repr__(self) -> str:
        return f"ComposedEncoder({self.spec.fingerprint[:8]})"

    def _embeddings(self, texts: list[str], *, query: bool) -> list[Embedding]:
        passing = Texts(texts, query)
        parts = (self._dense.encode(passing), self._sparse.encode(passing), self._late.encode(passing))
        return [
            Embedding(dense, sparse, late, not query and (dense_cut or sparse_cut or late_cut))
            for (dense, dense_cut), (sparse, sparse_cut), (late, late_cut) in zip(*parts, strict=True)
        ]


def _load(kind: str, name: str, device: str | None, named: dict[str, MiniEncoder]) -> Any:  # noqa: ANN401 see the protocols
    folder = default_checkpoint() if name == "tercet-mini" else find_model(name)
    if (folder / CONFIG_FILE).is_file():
        if name not in named:
            named[name] = MiniEncoder(folder)
        return named[name]
    try:
        import sentence_transformers
    except ImportError as error:
        raise MissingExtra(f"running {name} with ComposedEncoder", "models") from error
    # safetensors alone: a pickled checkpoint runs whatever code its author put there.
    model = getattr(sentence_transformers, kind)
    return model(str(folder), device=device, trust_remote_code=False, model_kwargs={"use_safetensors": True})
