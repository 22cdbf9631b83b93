"""The lexical teacher: a small SPLADE of Hugging Face's form, texts in, their strongest terms out."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from tercet.models.heads import MaxOverTokens
from tercet.models.states import token_batches

logger = logging.getLogger(__name__)

#: Terms kept of each vector; the small SPLADE gives about a hundred.
KEPT_TERMS = 160


@dataclass(frozen=True, slots=True)
class TopTerms:
    """A teacher's vectors, cut to their strongest terms.

    indices, weights: (n_texts, n_terms)
    """

    indices: NDArray[np.int32]
    weights: NDArray[np.float16]

    def dense(self, texts: Sequence[int], vocabulary_size: int) -> Tensor:
        """returns: (batch, vocabulary)"""
        rows = torch.zeros(len(texts), vocabulary_size)
        chosen = np.asarray(texts)
        return rows.scatter_(
            1, torch.from_numpy(self.indices[chosen]).long(), torch.from_numpy(self.weights[chosen]).float()
        )


@torch.inference_mode()
def teacher_terms(folder: Path, tokenizer: Tokenizer, texts: Sequence[str], *, max_tokens: int) -> TopTerms:
    """Encode all texts with the masked language model in `folder`, pooled as SPLADE does.

    tokenizer: of the trunk; the teacher must have the same vocabulary
    """
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(folder, use_safetensors=True).eval()
    decoder, bias = model.cls.predictions.decoder.weight, model.cls.predictions.bias
    kept = min(KEPT_TERMS, len(bias))
    indices = np.zeros((len(texts), kept), np.int32)
    weights = np.zeros((len(texts), kept), np.float16)
    started = reported = time.monotonic()
    done = 0
    for members, ids, mask in token_batches(tokenizer, texts, max_tokens=max_tokens):
        states = model.bert(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        tokens = model.cls.predictions.transform(states)[mask]
        # Without a bonus (-inf), a token's own word is a term like any other.
        no_bonus = torch.full((len(tokens),), -torch.inf)
        lengths = tuple(mask.sum(dim=1).tolist())
        pooled = MaxOverTokens.apply(tokens, decoder, no_bonus, ids[mask], lengths)
        best = torch.log1p(torch.relu(pooled + bias)).topk(kept, dim=1, sorted=False)
        indices[members], weights[members] = best.indices.numpy(), best.values.numpy()
        done += len(members)
        if time.monotonic() - reported > 30:
            reported = time.monotonic()
            logger.info("teacher: %d of %d texts, %.0f s", done, len(texts), reported - started)
    return TopTerms(indices, weights)
