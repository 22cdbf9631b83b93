"""The model under training: token ids or cached states in, each head's view of the texts out; and back to a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from tercet.checkpoint import QUERY_WEIGHTS, Checkpoint, token_id
from tercet.errors import CheckpointError
from tercet.models.bert_folder import Tensors
from tercet.models.export import expressible_terms, trunk_tensors, write_model
from tercet.models.heads import LateHead, SparseHead
from tercet.models.load import NEVER, LoadedModel, load_model
from tercet.models.states import Reading, TokenStates, compute_states, inverse_document_frequency, token_batches
from tercet.training.plan import Head
from tercet.training.pooling import InferenceFreeQueries, Pooling, sparse_vectors
from tercet.training.scores import importance, late_scores, padded

SideName = Literal["query", "document"]

#: ColBERT's, which every BERT's vocabulary has and no text says.
MARKERS = ("[unused0]", "[unused1]")

#: Documents whose states a new late head takes its principal components from, and a new sparse head its frequencies.
START_DOCUMENTS = 2000


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Texts as packed tokens, special ones included.

    token_ids: (n_tokens of all texts,)
    lengths: tokens of each text
    states: (n_tokens of all texts, hidden) beneath the layers that are trained; None where all are
    """

    token_ids: Tensor
    lengths: tuple[int, ...]
    states: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Views:
    """What the heads make of a batch of texts; None where a head was not asked.

    dense: (batch, hidden) of length 1
    sparse: (batch, vocabulary), non-negative
    late: (n_rows of all texts, late_dim) unit rows, with late_lengths rows for each text; those of queries as long as
        they are important
    """

    dense: Tensor | None = None
    sparse: Tensor | None = None
    late: Tensor | None = None
    late_lengths: tuple[int, ...] = ()

    def scores(self, documents: Views) -> dict[Head, Tensor]:
        """Each head's raw scores of these queries against those documents: (n_queries, n_docs)."""
        scores: dict[Head, Tensor] = {}
        if self.dense is not None and documents.dense is not None:
            scores["dense"] = self.dense @ documents.dense.T
        if self.sparse is not None and documents.sparse is not None:
            scores["sparse"] = self.sparse @ documents.sparse.T
        if self.late is not None and documents.late is not None:
            scores["late"] = late_scores(self.late, self.late_lengths, documents.late, documents.late_lengths)
        return scores

    def tensors(self) -> dict[str, Tensor]:
        """The views that are there, by head."""
        views = {"dense": self.dense, "sparse": self.sparse, "late": self.late}
        return {head: tensor for head, tensor in views.items() if tensor is not None}

    @staticmethod
    def joined(parts: Sequence[Views]) -> Views:
        def cat(name: str) -> Tensor | None:
            tensors = [getattr(part, name) for part in parts]
            return None if tensors[0] is None else torch.cat(tensors)

        lengths = tuple(length for part in parts for length in part.late_lengths)
        return Views(cat("dense"), cat("sparse"), cat("late"), lengths)


class ThreeHeads(nn.Module):
    """One trunk and its heads.

    Args:
        loaded: where the weights come from
        late_dim, sparse_rank: of heads that the folder lacks; `start_from` gives them a start
    """

    def __init__(self, loaded: LoadedModel, *, late_dim: int = 96, sparse_rank: int = 128) -> None:
        super().__init__()
        config = loaded.config
        self.config = config
        self.loaded = loaded
        self.trunk = loaded.trunk
        self.has_heads = loaded.sparse is not None and loaded.late is not None
        rank, dim = min(sparse_rank, config.hidden), min(late_dim, config.hidden)
        self.sparse = loaded.sparse or SparseHead(config.hidden, config.vocabulary_size, rank)
        self.late = loaded.late or LateHead(config.hidden, dim)
        self._late_is_new = loaded.late is None
        table = loaded.weights.get(QUERY_WEIGHTS)
        self.query_table = None if table is None else InferenceFreeQueries(torch.from_numpy(table))
        self.tokenizer = Tokenizer.from_file(str(loaded.tokenizer))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        specials = [self.tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[PAD]")]
        if None in specials:
            raise CheckpointError(f"the tokenizer of {config.name!r} has no [CLS], [SEP] or [PAD]; is it BERT's?")
        self.register_buffer("specials", torch.tensor(specials), persistent=False)
        self.register_buffer("skiplist", torch.tensor(config.skiplist, dtype=torch.long), persistent=False)
        self.specials: Tensor
        self.skiplist: Tensor
        if config.query_augmentation and config.attend_to_augmentation:
            raise CheckpointError(
                f"the query tokens of {config.name!r} attend to its [MASK]s, so that its heads need a pass each; this "
                f"trainer makes one for all. Train it by sentence-transformers' MultiVectorEncoderTrainer"
            )
        self.frozen_layers: int | None = config.layers
        self.freeze(0)

    @classmethod
    def open(cls, model: str | Path, *, late_dim: int = 96, sparse_rank: int = 128) -> ThreeHeads:
        """Open "tercet-mini", a checkpoint folder, or a folder with a BERT of Hugging Face's form.

        Raises:
            CheckpointError: it is none of these.
        """
        return cls(load_model(model), late_dim=late_dim, sparse_rank=sparse_rank)

    @property
    def pooling(self) -> Pooling:
        """How the sparse head pools over tokens; a checkpoint records it."""
        return self.sparse.form.pooling

    @pooling.setter
    def pooling(self, pooling: Pooling) -> None:
        self.sparse.form = dataclasses.replace(self.sparse.form, pooling=pooling)

    # --- before training ---

    def read_as_colbert(self, *, markers: bool, augmentation: int | None, late_dim: int | None) -> None:
        """Take up what ColBERT does with texts; the checkpoint records it. None and False leave it as it is.

        markers: [unused0] after a query's [CLS], [unused1] after a document's, and rows for both and [CLS] and [SEP]
        augmentation: see `ModelConfig.query_augmentation`; the [MASK]s see the query, and it does not see them
        late_dim: of a late head; one of another size begins anew, by `start_from`

        Raises:
            ValueError: more dimensions than the trunk has, or more tokens than it has positions.
            CheckpointError: the tokenizer has no such tokens.
        """
        config = self.config
        if late_dim is not None and late_dim > config.hidden:
            raise ValueError(f"late_dim {late_dim} is more than the {config.hidden} dimensions of {config.name!r}")
        if augmentation is not None and augmentation > config.max_positions:
            raise ValueError(
                f"query_augmentation {augmentation} is more than the {config.max_positions} positions of "
                f"{config.name!r}"
            )
        changes: dict[str, Any] = {}
        if markers:
            query, document = MARKERS
            changes |= {"query_marker": query, "document_marker": document, "late_specials": True}
        if augmentation is not None:
            most = max(config.max_query_tokens, augmentation)
            changes |= {"query_augmentation": augmentation, "max_query_tokens": most}
        self.config = dataclasses.replace(config, **changes)
        for side in ("query", "document"):
            self._reading(side)
        if late_dim is not None and late_dim != self.late.project.out_features:
            self.late = LateHead(config.hidden, late_dim)
            self._late_is_new = True
            self.has_heads = False

    @torch.no_grad()
    def start_from(self, documents: Sequence[str], *, max_tokens: int) -> None:
        """Give new heads their start: frequencies and principal components of these documents (a sample is enough).

        A head that came with the model is left as it is.
        """
        sample = documents[:START_DOCUMENTS]
        states = compute_states(
            self._forward_all, self.tokenizer, sample, max_tokens=max_tokens, reading=self._reading("document")
        )
        if self.loaded.sparse is None:
            rarity = inverse_document_frequency(states, self.config.vocabulary_size)
            self.sparse.start_from(self.trunk.embeddings.word_embeddings.weight, rarity)
            allowed = torch.zeros(self.config.vocabulary_size, dtype=torch.bool)
            allowed[torch.from_numpy(expressible_terms(self.tokenizer)).long()] = True
            self.sparse.bias[~allowed] = NEVER
        if self._late_is_new:
            self.late.start_from(torch.from_numpy(states.states.astype(np.float32)))

    def freeze(self, unfrozen_layers: int | Literal["all"]) -> None:
        """Let the trunk's last layers learn, or none, or all with the embeddings.

        Raises:
            ValueError: the trunk has fewer layers.
        """
        layers = self.config.layers
        if unfrozen_layers != "all" and unfrozen_layers > layers:
            raise ValueError(
                f"the trunk of {self.config.name!r} has {layers} layers, {unfrozen_layers} cannot be unfrozen; "
                f'"all" takes the embeddings, too'
            )
        self.frozen_layers = None if unfrozen_layers == "all" else layers - unfrozen_layers
        self.trunk.requires_grad_(self.frozen_layers is None)
        for layer in self.trunk.encoder.layer[self.frozen_layers or 0 :]:
            layer.requires_grad_(True)

    # --- the way of a text ---

    def read(self, texts: Sequence[str], *, side: SideName, max_tokens: int) -> TokenStates:
        """Tokens of these texts, with their states beneath the layers that are trained (none where all are)."""
        prompt = self.config.query_prompt if side == "query" else self.config.document_prompt
        limit = min(max_tokens, self.config.max_positions)
        # No text keeps more tokens than words of this number, so the rest need not be tokenized.
        texts = [" ".join((prompt + text).split()[:limit]) for text in texts]
        if self.frozen_layers is not None:
            return compute_states(
                self._forward_frozen, self.tokenizer, texts, max_tokens=limit, reading=self._reading(side)
            )
        ids: list[NDArray[np.int32]] = [np.zeros(0, np.int32)] * len(texts)
        for members, batch, mask in token_batches(self.tokenizer, texts, max_tokens=limit, reading=self._reading(side)):
            for row, text in enumerate(members):
                ids[text] = batch[row][mask[row]].numpy().astype(np.int32)
        offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        return TokenStates(np.zeros((int(offsets[-1]), 0), np.float16), np.concatenate(ids), offsets)

    def batch(self, read: TokenStates, texts: Sequence[int]) -> TokenBatch:
        """Some of the texts that were read, on the model's device."""
        parts = [read.rows(text) for text in texts]
        ids = torch.from_numpy(np.concatenate([read.token_ids[part] for part in parts]).astype(np.int64))
        states = None
        if self.frozen_layers is not None:
            rows = np.concatenate([read.states[part] for part in parts])
            states = torch.from_numpy(rows).to(self.device).float()
        return TokenBatch(ids.to(self.device), tuple(part.stop - part.start for part in parts), states)

    def forward(self, batch: TokenBatch, *, side: SideName, heads: Sequence[Head]) -> Views:
        states = self._states(batch)
        dense = sparse = late = None
        late_lengths: tuple[int, ...] = ()
        if "dense" in heads:
            rows, mask = padded(states, batch.lengths)
            mask = mask & self._attended(padded(batch.token_ids, batch.lengths)[0])
            # The mean's divisor falls out when the sum is brought to length 1.
            dense = F.normalize((rows * mask[:, :, None]).sum(dim=1).float(), dim=-1)
        if "sparse" in heads:
            sparse = self._sparse(states, batch, side)
        if "late" in heads:
            keep = self._late_rows(batch, side)
            late = self.late(states[keep]).float()
            late_lengths = _lengths(keep, batch.lengths)
            if side == "query" and self.config.late_importance:
                with torch.no_grad():
                    weights = self._sparse(states, batch, side) if sparse is None else sparse.detach()
                late = late * importance(batch.token_ids[keep], late_lengths, weights, self.config.late_importance)
        return Views(dense, sparse, late, late_lengths)

    def _sparse(self, states: Tensor, batch: TokenBatch, side: SideName) -> Tensor:
        words = ~self._special(batch, side)
        if side == "query" and self.query_table is not None:
            vectors: Tensor = self.query_table(batch.token_ids[words], _lengths(words, batch.lengths))
            return vectors
        keep = self._own(batch) if self.sparse.form.specials else _at_least_one(words, batch.lengths)
        lengths = _lengths(keep, batch.lengths)
        vectors = sparse_vectors(self.sparse, states[keep], batch.token_ids[keep], lengths, pooling=self.pooling)
        if self.sparse.form.specials:
            return vectors
        counts = torch.tensor(_lengths(words, batch.lengths), device=vectors.device)
        # A text without a word has lent its [CLS] so that there is a maximum; its vector is empty.
        return vectors if bool((counts > 0).all()) else vectors * (counts > 0)[:, None]

    def _reading(self, side: SideName) -> Reading:
        config = self.config
        marker = config.query_marker if side == "query" else config.document_marker
        augmented = config.query_augmentation if side == "query" else 0
        return Reading(
            token_id(self.tokenizer, marker, config.name) if marker else None,
            augmented,
            token_id(self.tokenizer, "[MASK]", config.name) if augmented else 0,
        )

    def _attended(self, ids: Tensor) -> Tensor:
        """(batch, n_tokens): False behind a text's last [SEP], where augmentation and padding are."""
        separators = ids == self.specials[1]
        return separators.flip(-1).cumsum(-1).flip(-1) > 0

    def _own(self, batch: TokenBatch) -> Tensor:
        """(n_tokens,): False at tokens of augmentation."""
        ids, mask = padded(batch.token_ids, batch.lengths)
        return self._attended(ids)[mask]

    def _special(self, batch: TokenBatch, side: SideName) -> Tensor:
        """(n_tokens,): True at tokens that are no part of the text."""
        special = torch.isin(batch.token_ids, self.specials) | ~self._own(batch)
        if self.config.query_marker if side == "query" else self.config.document_marker:
            special[_starts(batch.lengths) + 1] = True
        return special

    def _late_rows(self, batch: TokenBatch, side: SideName) -> Tensor:
        """(n_tokens,): True at tokens with a row in the multi-vector."""
        own = self._own(batch)
        keep = own if self.config.late_specials else ~self._special(batch, side)
        if side == "document":
            keep = keep & ~torch.isin(batch.token_ids, self.skiplist)
        return _at_least_one(keep, batch.lengths) | ~own

    def token_states(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """The whole trunk's states (batch, n_tokens, hidden) of tokens (batch, n_tokens); mask is False at padding."""
        return self._layers(self.trunk.embeddings(token_ids), mask, 0, self.config.layers)

    def _states(self, batch: TokenBatch) -> Tensor:
        """(n_tokens, hidden) on top of the trunk."""
        if batch.states is not None and self.frozen_layers == self.config.layers:
            return batch.states
        ids, mask = padded(batch.token_ids, batch.lengths)
        below = self.trunk.embeddings(ids) if batch.states is None else padded(batch.states, batch.lengths)[0]
        return self._layers(below, mask & self._attended(ids), self.frozen_layers or 0, self.config.layers)[mask]

    def _layers(self, states: Tensor, mask: Tensor, first: int, last: int) -> Tensor:
        """Run states (batch, n_tokens, hidden) through some layers of the trunk; mask: of what is attended to."""
        for layer in self.trunk.encoder.layer[first:last]:
            states = layer(states, mask[:, None, None, :])
        return states

    def _forward_frozen(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self._forward_up_to(self.frozen_layers or 0, ids, mask)

    def _forward_all(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self._forward_up_to(self.config.layers, ids, mask)

    def _forward_up_to(self, layers: int, ids: Tensor, mask: Tensor) -> Tensor:
        ids, mask = ids.to(self.device), mask.to(self.device)
        return self._layers(self.trunk.embeddings(ids), mask & self._attended(ids), 0, layers).cpu()

    @property
    def device(self) -> torch.device:
        return self.specials.device

    # --- after training ---

    def save(
        self, folder: Path, *, name: str, trained: Sequence[Head], calibration: Sequence[str], card: str
    ) -> Checkpoint:
        """Write a checkpoint folder that `tercet.encoders.mini.MiniEncoder` opens.

        trained: heads that were learnt; what was not is copied from the checkpoint that was opened, bit for bit
        """
        state = {name: tensor.detach().cpu().numpy() for name, tensor in self.trunk.state_dict().items()}
        state.setdefault("embeddings.token_type_embeddings.weight", np.zeros((2, self.config.hidden), np.float32))
        return write_model(
            folder,
            config=dataclasses.replace(self.config, name=name),
            tokenizer=self.loaded.tokenizer,
            trunk=trunk_tensors(state, self.config.layers),
            sparse=self.sparse.cpu(),
            late=self.late.cpu(),
            calibration=calibration,
            card=card,
            query_weights=None if self.query_table is None else self.query_table.weights.detach().cpu().numpy(),
            kept=self._untouched(trained),
        )

    def _untouched(self, trained: Sequence[Head]) -> Tensors:
        prefixes = tuple(f"{head}." for head in ("sparse", "late") if head not in trained)
        if self.frozen_layers is not None:
            prefixes += ("embeddings.word",)
        stored = self.loaded.weights
        return {name: stored[name] for name in stored if name.startswith(prefixes) and not name.endswith(".smooth")}


def _at_least_one(keep: Tensor, lengths: Sequence[int]) -> Tensor:
    """The same, and a text's first token where nothing of it would be kept."""
    counts = torch.tensor(_lengths(keep, lengths), device=keep.device)
    keep = keep.clone()
    keep[_starts(lengths)[counts.cpu() == 0]] = True
    return keep


def _starts(lengths: Sequence[int]) -> Tensor:
    """Where each text begins."""
    return torch.tensor([0, *lengths[:-1]]).cumsum(0)


def _lengths(keep: Tensor, lengths: Sequence[int]) -> tuple[int, ...]:
    """How many tokens of each text are kept."""
    ends = np.cumsum(lengths)
    running = np.concatenate([[0], keep.cpu().numpy().cumsum()])
    return tuple((running[ends] - running[ends - np.array(lengths)]).tolist())
