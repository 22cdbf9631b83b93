"""Tiny seeded models of other libraries, saved by these libraries or laid out as they do."""

import json
import shutil
import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from torch import nn
from transformers import DistilBertConfig, DistilBertForMaskedLM

from tests import tiny


def write_splade(folder: Path, *, pooling: Any = "max", activation: Any = "relu") -> Path:
    masked = tiny.write_trunk(folder.with_name(f"{folder.name}-masked"), masked_language_model=True)
    modules: list[nn.Module] = [
        Transformer(str(masked), transformer_task="fill-mask"),
        SpladePooling(pooling, activation_function=activation),
    ]
    SparseEncoder(modules=modules).save(str(folder))
    return folder


def write_inference_free(folder: Path) -> Path:
    transformer = Transformer(
        str(tiny.write_trunk(folder.with_name("router-masked"), masked_language_model=True)),
        transformer_task="fill-mask",
    )
    torch.manual_seed(4)
    weights = torch.rand(len(tiny.VOCABULARY))
    router = Router.for_query_document(
        query_modules=[SparseStaticEmbedding(transformer.tokenizer, weights)],
        document_modules=[transformer, SpladePooling()],
    )
    SparseEncoder(modules=[router]).save(str(folder))
    return folder


def write_distilbert(folder: Path) -> Path:
    tiny.write_trunk(folder)  # for its tokenizer
    torch.manual_seed(5)
    config = DistilBertConfig(
        vocab_size=len(tiny.VOCABULARY), dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64
    )
    model = DistilBertForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    model.save_pretrained(folder)
    return folder


def write_multi_vector(folder: Path, **reading: Any) -> Path:
    """A ColBERT of sentence-transformers' own layout; reading: of its Transformer."""
    torch.manual_seed(6)
    transformer = Transformer(str(tiny.write_trunk(folder.with_name(f"{folder.name}-trunk"))), **reading)
    modules: list[nn.Module] = [
        transformer,
        Dense(32, 12, bias=False, activation_function=nn.Identity(), module_input_name="token_embeddings"),
        MultiVectorMask(skiplist_words=list(string.punctuation)),
        Normalize("token_embeddings"),
    ]
    MultiVectorEncoder(modules=modules, prompts={"query": "a query: ", "document": ""}).save(str(folder))
    return folder


def write_pylate(folder: Path, **changes: Any) -> Path:
    """The layout of answerai-colbert-small-v1."""
    _with_markers(tiny.write_trunk(folder))
    torch.manual_seed(7)
    dense = folder / "1_Dense"
    dense.mkdir()
    save_file({"linear.weight": torch.randn(12, 32)}, dense / "model.safetensors")
    _write(
        dense / "config.json",
        in_features=32,
        out_features=12,
        bias=False,
        activation_function="torch.nn.modules.linear.Identity",
    )
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    _write(folder / "sentence_bert_config.json", max_seq_length=23, do_lower_case=False)
    settings = {
        "model_type": "ColBERT",
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "MaxSim",
        "query_prefix": "[unused0]",
        "document_prefix": "[unused1]",
        "query_length": 16,
        "document_length": 24,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
    }
    _write(folder / "config_sentence_transformers.json", **{**settings, **changes})
    return folder


def write_stanford(folder: Path) -> Path:
    """The layout of colbertv2.0, with its weights as safetensors."""
    _with_markers(tiny.write_trunk(folder))
    torch.manual_seed(8)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["HF_ColBERT"]}))
    tensors = {f"bert.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file({**tensors, "linear.weight": torch.randn(12, 32)}, folder / "model.safetensors", {"format": "pt"})
    _write(
        folder / "artifact.metadata",
        query_token_id="[unused0]",
        doc_token_id="[unused1]",
        query_maxlen=16,
        doc_maxlen=24,
        attend_to_mask_tokens=True,
        mask_punctuation=True,
    )
    return folder


def write_dense(folder: Path, pooling: Any = "mean") -> Path:
    transformer = Transformer(str(tiny.write_trunk(folder.with_name(f"{folder.name}-trunk"))))
    modules: list[nn.Module] = [transformer, Pooling(32, pooling_mode=pooling), Normalize()]
    SentenceTransformer(modules=modules).save(str(folder))
    return folder


def pickled(source: Path, folder: Path) -> Path:
    """The same folder with its weights pickled."""
    shutil.copytree(source, folder)
    for path in list(folder.rglob("*.safetensors")):
        torch.save(load_file(path), path.with_name("pytorch_model.bin"))
        path.unlink()
    return folder


def _with_markers(folder: Path) -> None:
    """Two entries of the vocabulary become BERT's unused ones, which are in it without being special."""
    path = folder / "tokenizer.json"
    settings = json.loads(path.read_text())
    vocabulary = settings["model"]["vocab"]
    for marker, given_up in (("[unused0]", "##q"), ("[unused1]", "##z")):
        vocabulary[marker] = vocabulary.pop(given_up)
    path.write_text(json.dumps(settings))


def _write(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")
