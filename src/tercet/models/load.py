"""From the runtime back to torch: a model of any layout in, its trunk and heads as modules out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BertModel

from tercet.checkpoint import (
    CONFIG_FILE,
    QUERY_WEIGHTS,
    SIDE,
    TOKENIZER_FILE,
    Checkpoint,
    ModelConfig,
    SideNetwork,
    Weights,
    default_checkpoint,
    dequantize_rows,
)
from tercet.hub import find_model
from tercet.models.heads import LateHead, SparseHead
from tercet.models.interchange import read_foreign
from tercet.models.trunk import bert_of

#: The bias of terms that a sparse vector may not hold: no logit reaches it, and no gradient comes back.
NEVER = -1e4


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model's parts in f32.

    sparse, late: None where the folder does not have that head
    weights: the stored tensors of a checkpoint of ours; of other models only the table of inference-free queries
    """

    config: ModelConfig
    tokenizer: Path
    trunk: BertModel
    sparse: SparseHead | None
    late: LateHead | None
    weights: Weights


def load_model(model: str | Path) -> LoadedModel:
    """Open "tercet-mini", a checkpoint of ours, or a folder or hub name of what `tercet.models.interchange` reads.

    Raises:
        CheckpointError: there is no such model, its weights are pickled, it holds heads without a trunk, or its trunk
            is no BERT with GELU.
    """
    folder = default_checkpoint() if str(model) == "tercet-mini" else find_model(model)
    return _from_checkpoint(folder) if (folder / CONFIG_FILE).is_file() else _from_elsewhere(folder)


def _from_elsewhere(folder: Path) -> LoadedModel:
    foreign = read_foreign(folder)
    weights = {} if foreign.query_weights is None else {QUERY_WEIGHTS: foreign.query_weights}
    trunk = _trunk(foreign.config, foreign.trunk)
    return LoadedModel(foreign.config, foreign.tokenizer, trunk, foreign.sparse, foreign.late, weights)


def _from_checkpoint(folder: Path) -> LoadedModel:
    checkpoint = Checkpoint.open(folder)
    config, weights = checkpoint.config, checkpoint.weights()
    checkpoint.tokenizer()  # compares its hash
    trunk = _trunk(config, bert_state(weights, config))
    sparse = sparse_head(weights, config) if "sparse" in config.heads else None
    late = None
    if "late" in config.heads:
        late = LateHead(config.hidden, config.late_dim)
        late.load_state_dict({"project.weight": _tensor(weights["late.project.weight"].T)})
    return LoadedModel(config, folder / TOKENIZER_FILE, trunk, sparse, late, weights)


def sparse_head(weights: Weights, config: ModelConfig) -> SparseHead:
    """The stored head; the bias of the bonus stands in the table of terms, where export has put it."""
    form = config.sparse_form
    head = SparseHead(config.hidden, config.vocabulary_size, config.sparse_rank, form)
    bias = torch.full((config.vocabulary_size,), NEVER)
    bias[torch.from_numpy(weights["sparse.terms"].astype(np.int64))] = _tensor(weights["sparse.bias"])
    state = {
        "transform.weight": _tensor(weights["sparse.transform.weight"].T),
        "transform.bias": _tensor(weights["sparse.transform.bias"]),
        "norm.weight": _tensor(weights["sparse.norm.weight"]),
        "norm.bias": _tensor(weights["sparse.norm.bias"]),
        "decoder": _tensor(dequantize_rows(weights["sparse.decoder.rows"], weights["sparse.decoder.rows.scale"])),
        "bias": bias,
    }
    if form.projected:
        state["project.weight"] = _tensor(weights["sparse.project.weight"].T)
    if form.bonus:
        state["bonus.weight"] = _tensor(weights["sparse.bonus.weight"].T)
        state["bonus.bias"] = torch.zeros(1)
        state["term_bonus"] = _tensor(weights["sparse.term_bonus"])
    if form.term_frequency:
        state["frequency.weight"] = _tensor(weights["sparse.frequency.weight"].T)
        state["frequency.bias"] = _tensor(weights["sparse.frequency.bias"])
    if form.side:
        bert = bert_state(weights, form.side, SIDE)
        state |= {f"side.bert.{name}": _tensor(tensor) for name, tensor in bert.items()}
        state["side.transform.weight"] = _tensor(weights[f"{SIDE}transform.weight"].T)
        state["side.transform.bias"] = _tensor(weights[f"{SIDE}transform.bias"])
        state["side.norm.weight"] = _tensor(weights[f"{SIDE}transform.norm.weight"])
        state["side.norm.bias"] = _tensor(weights[f"{SIDE}transform.norm.bias"])
    head.load_state_dict(state)
    head.norm.eps = config.layer_norm_eps  # as the graph computes it
    return head


def _trunk(config: ModelConfig, state: Mapping[str, NDArray[Any]]) -> BertModel:
    tensors = {name: _tensor(tensor) for name, tensor in state.items()}
    return bert_of(config, config.vocabulary_size, tensors, name=config.name)


def bert_state(weights: Weights, shape: ModelConfig | SideNetwork, prefix: str = "") -> dict[str, NDArray[Any]]:
    """What `tercet.models.export.trunk_tensors` stored, under BERT's names again; one segment, its embedding is 0."""
    embeddings = f"{prefix}embeddings"
    state: dict[str, NDArray[Any]] = {
        "embeddings.word_embeddings.weight": weights[f"{embeddings}.word"] * weights[f"{embeddings}.word.scale"],
        "embeddings.position_embeddings.weight": weights[f"{embeddings}.position"],
        "embeddings.token_type_embeddings.weight": np.zeros((2, shape.hidden)),
        "embeddings.LayerNorm.weight": weights[f"{embeddings}.norm.weight"],
        "embeddings.LayerNorm.bias": weights[f"{embeddings}.norm.bias"],
    }
    for layer in range(shape.layers):
        ours, theirs = f"{prefix}layer.{layer}", f"encoder.layer.{layer}"
        for kind in ("weight", "bias"):
            parts = np.split(weights[f"{ours}.attention.{kind}"], 3, axis=-1)
            for part, tensor in zip(("query", "key", "value"), parts, strict=True):
                state[f"{theirs}.attention.self.{part}.{kind}"] = tensor.T
            for name, target in (("output", "attention.output"), ("up", "intermediate"), ("down", "output")):
                state[f"{theirs}.{target}.dense.{kind}"] = weights[f"{ours}.{name}.{kind}"].T
            state[f"{theirs}.attention.output.LayerNorm.{kind}"] = weights[f"{ours}.attention_norm.{kind}"]
            state[f"{theirs}.output.LayerNorm.{kind}"] = weights[f"{ours}.norm.{kind}"]
    return state


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
