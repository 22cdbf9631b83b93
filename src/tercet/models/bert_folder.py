"""A folder of Hugging Face's form in, its configuration and tensors under BERT's names out.

DistilBERT is a BERT with other names and without segments, so its tensors are only renamed.
"""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer

from tercet.checkpoint import TOKENIZER_FILE, ModelConfig
from tercet.errors import CheckpointError

#: all-MiniLM was trained on no more than 256 word pieces, though its trunk has 512 positions.
QUERY_TOKENS, DOCUMENT_TOKENS = 64, 256

Tensors = dict[str, NDArray[Any]]

#: DistilBERT's configuration and tensors → BERT's.
_DISTILBERT_CONFIG = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
}
_DISTILBERT_TENSORS = (
    (r"^transformer\.layer", "encoder.layer"),
    (r"attention\.q_lin", "attention.self.query"),
    (r"attention\.k_lin", "attention.self.key"),
    (r"attention\.v_lin", "attention.self.value"),
    (r"attention\.out_lin", "attention.output.dense"),
    (r"sa_layer_norm", "attention.output.LayerNorm"),
    (r"ffn\.lin1", "intermediate.dense"),
    (r"ffn\.lin2", "output.dense"),
    (r"output_layer_norm", "output.LayerNorm"),
    (r"^vocab_transform", "cls.predictions.transform.dense"),
    (r"^vocab_layer_norm", "cls.predictions.transform.LayerNorm"),
    (r"^vocab_projector\.weight", "cls.predictions.decoder.weight"),
    (r"^vocab_projector\.bias", "cls.predictions.bias"),
)


def config_of_bert(trunk: Path, *, name: str) -> ModelConfig:
    """What a folder of Hugging Face's form says of its trunk; `write_model` fills in what the heads decide.

    Raises:
        CheckpointError: the trunk is no BERT (or DistilBERT) with exact GELU and absolute positions.
    """
    bert = read_json(trunk / "config.json")
    kind = bert.get("model_type")
    if kind == "distilbert":
        bert |= {ours: bert.get(theirs) for ours, theirs in _DISTILBERT_CONFIG.items()} | {"layer_norm_eps": 1e-12}
    positions = bert.get("position_embedding_type") or "absolute"
    if kind not in ("bert", "distilbert") or bert.get("hidden_act") != "gelu" or positions != "absolute":
        raise CheckpointError(
            f"{trunk} is a {kind!r} with {bert.get('hidden_act')!r}, the runtime graph knows BERT with GELU and "
            f"absolute positions; tercet.encoders.composed.ComposedEncoder runs others through sentence-transformers"
        )
    return ModelConfig(
        name=name,
        hidden=bert["hidden_size"],
        layers=bert["num_hidden_layers"],
        attention_heads=bert["num_attention_heads"],
        intermediate=bert["intermediate_size"],
        layer_norm_eps=bert["layer_norm_eps"],
        vocabulary_size=bert["vocab_size"],
        max_positions=bert["max_position_embeddings"],
        max_query_tokens=min(QUERY_TOKENS, bert["max_position_embeddings"]),
        max_document_tokens=min(DOCUMENT_TOKENS, bert["max_position_embeddings"]),
        skiplist=punctuation(open_tokenizer(trunk)),
        late_dim=0,
        sparse_rank=0,
        sparse_terms=0,
    )


def bert_tensors(folder: Path) -> Tensors:
    """A folder's tensors in f32: the trunk as BertModel names it, a head for masked words below "cls.predictions".

    Raises:
        CheckpointError: there are none, or they cannot be read.
    """
    # Large models are stored in parts, model-00001-of-00002.safetensors and so on.
    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob("model-*.safetensors"))
    if not files:
        heads = sorted(path.parent.name for path in folder.glob("*/model.safetensors"))
        found = f"it has heads ({', '.join(heads)}) without a trunk" if heads else "it is no model folder"
        raise CheckpointError(f"{folder}: model.safetensors not found; {found}")
    tensors: Tensors = {}
    for path in files:
        for name, tensor in read_tensors(path).items():
            name = re.sub(r"^(bert|distilbert|model\.bert)\.", "", name)
            name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
            for theirs, ours in _DISTILBERT_TENSORS:
                name = re.sub(theirs, ours, name)
            tensors[name] = tensor
    words = tensors.get("embeddings.word_embeddings.weight")
    if words is None:
        raise CheckpointError(
            f"{folder}: no word embeddings in {', '.join(path.name for path in files)}; is it a BERT?"
        )
    # DistilBERT has no segments; a BERT reads one here.
    tensors.setdefault("embeddings.token_type_embeddings.weight", np.zeros((2, words.shape[1]), np.float32))
    return tensors


def read_tensors(path: Path) -> Tensors:
    """Every tensor of a safetensors file in f32."""
    try:
        # Through torch, for NumPy has no bfloat16.
        return {name: tensor.float().numpy() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); copy it again") from error


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent}: {path.name} not found; it is no model folder") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); copy it again") from error


def open_tokenizer(folder: Path) -> Tokenizer:
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: {TOKENIZER_FILE} not found; transformers' AutoTokenizer.from_pretrained(folder)"
            f".save_pretrained(folder) writes it from a vocab.txt"
        )
    return Tokenizer.from_file(str(path))


def punctuation(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Token ids of single marks, which late interaction leaves out of documents."""
    return tuple(sorted(index for mark in string.punctuation if (index := tokenizer.token_to_id(mark)) is not None))
