"""Token states of a frozen trunk, computed once and kept as a flat float16 file: texts in, (n_tokens, hidden) out.

With the trunk frozen, everything the heads learn from is a function of the text alone; caching it turns the training of
a head from hours into minutes on a CPU.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

logger = logging.getLogger(__name__)

Forward = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class TokenStates:
    """The states of many texts, end to end.

    states: (n_tokens of all texts, hidden) float16, special tokens included
    token_ids: (n_tokens of all texts,)
    offsets: (n_texts + 1,) where each text begins
    """

    states: NDArray[np.float16]
    token_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def length(self, text: int) -> int:
        return int(self.offsets[text + 1] - self.offsets[text])

    def rows(self, text: int) -> slice:
        return slice(int(self.offsets[text]), int(self.offsets[text + 1]))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.__slots__:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> TokenStates:
        return cls(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model reads beside a text's own tokens, as token ids.

    marker: after [CLS]; None for none
    augmented: a text of fewer tokens is filled up to so many with `mask`, behind its [SEP]
    """

    marker: int | None = None
    augmented: int = 0
    mask: int = 0

    def ids(self, tokens: Sequence[int], max_tokens: int) -> list[int]:
        """The tokens of one text, cut with the last special one kept."""
        inserted = [] if self.marker is None else [self.marker]
        read = [*tokens[:1], *inserted, *tokens[1:]]
        if len(read) > max_tokens:
            read = [*read[: max_tokens - 1], read[-1]]
        return read + [self.mask] * (self.augmented - len(read))


def token_batches(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    max_tokens: int,
    batch_tokens: int = 4096,
    reading: Reading | None = None,
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Yield (positions in `texts`, token ids, mask) in batches of texts of like length, so padding stays small.

    ids and mask: (batch, n_tokens), the mask False at padding
    """
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
    reading = reading or Reading()
    ids = [reading.ids(row, max_tokens) for row in ids]
    order = sorted(range(len(ids)), key=lambda text: len(ids[text]))
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and len(ids[order[stop]]) * (stop - start + 1) <= batch_tokens:
            stop += 1
        members = order[start:stop]
        width = len(ids[members[-1]])
        batch = torch.zeros(len(members), width, dtype=torch.long)
        mask = torch.zeros(len(members), width, dtype=torch.bool)
        for row, text in enumerate(members):
            batch[row, : len(ids[text])] = torch.tensor(ids[text])
            mask[row, : len(ids[text])] = True
        yield members, batch, mask
        start = stop


@torch.inference_mode()
def compute_states(
    forward: Forward, tokenizer: Tokenizer, texts: Sequence[str], *, max_tokens: int, reading: Reading | None = None
) -> TokenStates:
    """Run `forward(ids, mask) -> (batch, n_tokens, hidden)` over all texts and keep every real token's state."""
    parts: list[tuple[NDArray[np.float16], NDArray[np.int32]] | None] = [None] * len(texts)
    done, started, reported = 0, time.monotonic(), time.monotonic()
    for members, ids, mask in token_batches(tokenizer, texts, max_tokens=max_tokens, reading=reading):
        states = forward(ids, mask).to(torch.float16).numpy()
        for row, text in enumerate(members):
            length = int(mask[row].sum())
            parts[text] = (states[row, :length].copy(), ids[row, :length].numpy().astype(np.int32))
        done += len(members)
        if time.monotonic() - reported > 30:
            reported = time.monotonic()
            logger.info("states: %d of %d texts, %.0f s", done, len(texts), reported - started)
    complete = [part for part in parts if part is not None]
    offsets = np.cumsum([0, *(len(ids) for _, ids in complete)], dtype=np.int64)
    states_flat = np.empty((int(offsets[-1]), complete[0][0].shape[1]), dtype=np.float16)
    for text, (rows, _) in enumerate(complete):
        states_flat[offsets[text] : offsets[text + 1]] = rows
    return TokenStates(states_flat, np.concatenate([ids for _, ids in complete]), offsets)


def inverse_document_frequency(documents: TokenStates, vocabulary_size: int) -> Tensor:
    """How rare each token is among the documents: 1 for one that never occurs, about 0 for one in all.

    returns: (vocabulary,)
    """
    frequency: NDArray[np.float64] = np.zeros(vocabulary_size)
    for document in range(len(documents)):
        frequency[np.unique(documents.token_ids[documents.rows(document)])] += 1
    rarity = np.log((len(documents) + 1) / (frequency + 0.5))
    return torch.from_numpy(rarity / rarity.max()).float()
