"""A sentence-transformers model and a text in, its tokens with their characters out, and which made a sparse term.

Needs tercet[models]. What the models themselves feed their transformers is aligned with the text's own tokens; what is
left over (prompts, markers, [MASK]s of a query expansion) is the encoder's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

from tercet.encoders.base import Token

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SparseEncoder

#: Under which names encode_query and encode_document look for a model's prompt.
PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}


def late_tokens(model: MultiVectorEncoder, text: str, task: str) -> tuple[Token, ...]:
    """One token for each row of the multi-vector; costs a pass of the model, which alone knows what it masks."""
    encode: Any = model.encode_query if task == "query" else model.encode_document
    [features] = encode([text], output_value=None, show_progress_bar=False)
    rows = features["token_embeddings"].float().cpu().numpy()
    kept = features["attention_mask"].bool().cpu().numpy() & (np.linalg.norm(rows, axis=1) > 1e-6)
    return tuple(token for token, keep in zip(_tokens(model, features, text), kept, strict=True) if keep)


def sparse_tokens(model: SparseEncoder, text: str, task: str) -> tuple[Token, ...]:
    """The tokens that the model reads, those included that it adds: SPLADE's maximum is over all of them."""
    return tuple(_tokens(model, _unpadded(_features(model, text, task)), text))


def sparse_origins(model: SparseEncoder, text: str, task: str) -> Mapping[int, int]:
    """Which token made each term: the arg-max of a SPLADE model's logits.

    For any other architecture only the terms that stand in the text are told, each by its first token: exact where
    queries are looked up in a table of weights (inference-free models).
    """
    import torch
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    features = _features(model, text, task)
    pooling = model[-1]
    if len(model) != 2 or not isinstance(pooling, SpladePooling) or pooling.pooling_strategy != "max":
        ids = _unpadded(features)["input_ids"].tolist()
        return {index: position for position, index in reversed(list(enumerate(ids)))}
    model.eval()
    with torch.inference_mode():
        on_device = {
            name: value.to(model.device) if hasattr(value, "to") else value for name, value in features.items()
        }
        logits = model[0](on_device)["token_embeddings"][0].float()
        logits = logits[on_device["attention_mask"][0].bool()]
        best, tokens = logits.max(dim=0)
    terms = torch.nonzero(best > 0)[:, 0]
    return dict(zip(terms.tolist(), tokens[terms].tolist(), strict=True))


def _features(model: Any, text: str, task: str) -> Mapping[str, Any]:  # noqa: ANN401 two classes without a typed base
    prompts = [model.prompts[name] for name in PROMPTS[task] if name in model.prompts]
    features: Mapping[str, Any] = model.preprocess([text], prompt=prompts[0] if prompts else None, task=task)
    return features


def _unpadded(features: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"input_ids": features["input_ids"][0][features["attention_mask"][0].bool()]}


def _tokens(model: Any, features: Mapping[str, Any], text: str) -> list[Token]:  # noqa: ANN401
    """A token for each of the input ids, (n_tokens,)."""
    ids: list[int] = features["input_ids"].tolist()
    names: Sequence[str] = model.tokenizer.convert_ids_to_tokens(ids)
    tokens = [Token(name, index, 0, 0, -1) for name, index in zip(names, ids, strict=True)]
    if not model.tokenizer.is_fast:  # a slow tokenizer does not tell characters
        return tokens
    own = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)
    words = own.word_ids()
    blocks = SequenceMatcher(None, ids, own["input_ids"], autojunk=False).get_matching_blocks()
    for here, there, length in blocks:
        for step in range(length):
            start, end = own["offset_mapping"][there + step]
            word = words[there + step]
            if word is not None:
                tokens[here + step] = tokens[here + step]._replace(start=start, end=end, word=word)
    return tokens
