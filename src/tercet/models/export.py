"""From torch to the runtime: a BERT folder and two trained heads in, a checkpoint folder out."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from tercet.checkpoint import (
    CONFIG_FILE,
    HEADS,
    QUERY_WEIGHTS,
    SIDE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Checkpoint,
    HeadName,
    ModelConfig,
    SparseForm,
    file_hash,
    quantize_rows,
)
from tercet.models.bert_folder import Tensors, bert_tensors, config_of_bert
from tercet.models.calibration import calibrate
from tercet.models.graph import write_graphs
from tercet.models.heads import LateHead, SparseHead
from tercet.models.trunk import SideTrunk


def write_checkpoint(
    folder: Path,
    *,
    name: str,
    trunk: Path,
    sparse: SparseHead,
    late: LateHead,
    calibration: Sequence[str],
    card: str,
    late_importance: float = 0.0,
) -> Checkpoint:
    """Write a checkpoint folder, calibrate its int8 ranges on `calibration` texts and write its graphs.

    trunk: a folder of Hugging Face's form with BERT's config.json, model.safetensors and tokenizer.json

    Raises:
        CheckpointError: the trunk is no BERT with exact GELU and absolute positions.
    """
    config = dataclasses.replace(config_of_bert(trunk, name=name), late_importance=late_importance)
    return write_model(
        folder,
        config=config,
        tokenizer=trunk / "tokenizer.json",
        trunk=trunk_tensors(bert_tensors(trunk), config.layers),
        sparse=sparse,
        late=late,
        calibration=calibration,
        card=card,
    )


def write_model(
    folder: Path,
    *,
    config: ModelConfig,
    tokenizer: Path,
    trunk: Tensors,
    sparse: SparseHead | None,
    late: LateHead | None,
    calibration: Sequence[str],
    card: str,
    heads: tuple[HeadName, ...] = HEADS,
    query_weights: NDArray[np.float32] | None = None,
    kept: Mapping[str, NDArray[Any]] | None = None,
) -> Checkpoint:
    """Write a checkpoint folder from its parts.

    config: of the trunk, with limits, prompts and how late interaction reads; sizes of the heads, ranges and hashes are
        filled in
    tokenizer: a tokenizer.json
    trunk: as `trunk_tensors` names them
    sparse, late: None where `heads` does not have them
    query_weights: (vocabulary,) where queries are weighed by a table instead of the model
    kept: tensors of an earlier checkpoint that were not trained. Rounding them again would move them a little.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(tokenizer, folder / TOKENIZER_FILE)
    opened = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    terms = np.zeros(0, np.int32)
    tensors = dict(trunk)
    if late is not None:
        tensors |= late_tensors(late)
    if sparse is not None:
        # A head from elsewhere may say any entry of its vocabulary; ours learns none that is no word.
        whole = np.arange(config.vocabulary_size, dtype=np.int32)
        terms = whole if sparse.form.specials else expressible_terms(opened)
        tensors |= sparse_tensors(sparse, terms)
    tensors |= kept or {}
    if query_weights is not None:
        tensors[QUERY_WEIGHTS] = np.zeros_like(query_weights)
        tensors[QUERY_WEIGHTS][terms] = query_weights[terms]
    save_file(tensors, folder / WEIGHTS_FILE)
    config = dataclasses.replace(
        config,
        heads=heads,
        late_dim=late.project.out_features if late else 0,
        sparse_rank=sparse.rank if sparse else 0,
        sparse_terms=len(terms),
        sparse_form=sparse.form if sparse else SparseForm(),
        activation_ranges={},
        weights_hash=file_hash(folder / WEIGHTS_FILE),
        tokenizer_hash=file_hash(folder / TOKENIZER_FILE),
    )
    calibrated = calibrate(Checkpoint(folder, config), calibration)
    tensors |= {f"{layer}.smooth": factors for layer, factors in calibrated.smooth.items()}
    save_file(dict(sorted(tensors.items())), folder / WEIGHTS_FILE)
    weights_hash = file_hash(folder / WEIGHTS_FILE)
    config = dataclasses.replace(config, activation_ranges=calibrated.ranges, weights_hash=weights_hash)
    (folder / CONFIG_FILE).write_text(config.to_json(), encoding="utf-8")
    write_graphs(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return Checkpoint.open(folder)


def _write_tokenizer(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    tokenizer = Tokenizer.from_file(str(target))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(target), pretty=False)


def expressible_terms(tokenizer: Tokenizer) -> NDArray[np.int32]:
    """Vocabulary ids that a sparse vector may hold: no special or unused entry, no lone mark or foreign letter."""
    terms = []
    for term, index in tokenizer.get_vocab().items():
        letters = term.removeprefix("##")
        if term.startswith("[") and term.endswith("]") and len(term) > 2:
            continue
        if len(letters) > 1 or (letters.isascii() and letters.isalnum()):
            terms.append(index)
    return np.array(sorted(terms), np.int32)


def trunk_tensors(state: Mapping[str, NDArray[Any]], layers: int, prefix: str = "") -> Tensors:
    """BERT's tensors under the runtime's names, matrices as (inputs, outputs), query, key and value as one."""
    tensors: Tensors = {}
    words, scales = quantize_rows(state["embeddings.word_embeddings.weight"])
    tensors[f"{prefix}embeddings.word"], tensors[f"{prefix}embeddings.word.scale"] = words, scales[:, None]
    # One segment only: its type embedding is a constant, so it moves into the positions.
    positions = state["embeddings.position_embeddings.weight"] + state["embeddings.token_type_embeddings.weight"][0]
    tensors[f"{prefix}embeddings.position"] = positions.astype(np.float16)
    _copy_norm(tensors, f"{prefix}embeddings.norm", state, "embeddings.LayerNorm")
    for layer in range(layers):
        ours, theirs = f"{prefix}layer.{layer}", f"encoder.layer.{layer}"
        parts = [f"{theirs}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([state[f"{part}.weight"].T for part in parts], axis=1)
        tensors[f"{ours}.attention.weight"] = _half(weight)
        tensors[f"{ours}.attention.bias"] = np.concatenate([state[f"{part}.bias"] for part in parts]).astype(np.float32)
        _copy_norm(tensors, f"{ours}.attention_norm", state, f"{theirs}.attention.output.LayerNorm")
        _copy_norm(tensors, f"{ours}.norm", state, f"{theirs}.output.LayerNorm")
        for name, source in (("output", "attention.output"), ("up", "intermediate"), ("down", "output")):
            tensors[f"{ours}.{name}.weight"] = _half(state[f"{theirs}.{source}.dense.weight"].T)
            tensors[f"{ours}.{name}.bias"] = state[f"{theirs}.{source}.dense.bias"].astype(np.float32)
    return tensors


def late_tensors(late: LateHead) -> Tensors:
    return {"late.project.weight": _half(_numpy(late.project.weight).T)}


def sparse_tensors(sparse: SparseHead, terms: NDArray[np.int32]) -> Tensors:
    rows, scales = quantize_rows(_numpy(sparse.decoder))
    tensors: Tensors = {
        "sparse.transform.weight": _half(_numpy(sparse.transform.weight).T),
        "sparse.transform.bias": _numpy(sparse.transform.bias),
        "sparse.norm.weight": _numpy(sparse.norm.weight),
        "sparse.norm.bias": _numpy(sparse.norm.bias),
        "sparse.decoder.rows": rows,
        "sparse.decoder.rows.scale": scales,
        "sparse.bias": _numpy(sparse.bias)[terms],
        "sparse.terms": terms,
    }
    if sparse.form.projected:
        tensors["sparse.project.weight"] = _half(_numpy(sparse.project.weight).T)
    if sparse.form.bonus:
        tensors["sparse.bonus.weight"] = _numpy(sparse.bonus.weight).T.copy()
        tensors["sparse.term_bonus"] = _numpy(sparse.term_bonus) + _numpy(sparse.bonus.bias)
    if sparse.frequency is not None:
        tensors["sparse.frequency.weight"] = _numpy(sparse.frequency.weight).T.copy()
        tensors["sparse.frequency.bias"] = _numpy(sparse.frequency.bias)
    if sparse.side is not None:
        tensors |= side_tensors(sparse.side)
    return tensors


def side_tensors(side: SideTrunk) -> Tensors:
    state = {name: _numpy(tensor) for name, tensor in side.bert.state_dict().items()}
    return {
        **trunk_tensors(state, side.shape.layers, SIDE),
        f"{SIDE}transform.weight": _half(_numpy(side.transform.weight).T),
        f"{SIDE}transform.bias": _numpy(side.transform.bias),
        f"{SIDE}transform.norm.weight": _numpy(side.norm.weight),
        f"{SIDE}transform.norm.bias": _numpy(side.norm.bias),
    }


def _copy_norm(tensors: Tensors, name: str, state: Mapping[str, NDArray[Any]], source: str) -> None:
    tensors[f"{name}.weight"] = state[f"{source}.weight"].astype(np.float32)
    tensors[f"{name}.bias"] = state[f"{source}.bias"].astype(np.float32)


def _half(matrix: NDArray[Any]) -> NDArray[np.float16]:
    return np.ascontiguousarray(matrix, dtype=np.float16)


def _numpy(tensor: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().float().numpy())
