"""A checkpoint in, folders that sentence-transformers loads out: one for each head, which share nothing.

| head   | class                 | modules                                                                  |
|--------|-----------------------|--------------------------------------------------------------------------|
| dense  | `SentenceTransformer` | Transformer, mean Pooling, Normalize                                     |
| late   | `MultiVectorEncoder`  | Transformer, Dense, MultiVectorMask, Normalize                           |
| sparse | `SparseEncoder`       | BERT for masked words and SpladePooling, where the head has that form    |
| sparse | `SparseEncoder`       | Transformer and `tercet.models.sentence_modules.SparseHeadPooling`: ours |

The last is exact, too, but its class is not sentence-transformers' own, which therefore asks for
`trust_remote_code=True`; `open_sparse_encoder` opens it without. Weights are the checkpoint's stored ones in float32 or
float16, so the vectors are those of `MiniEncoder(folder, precision="f32")`.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Dense, Module, Normalize, Router, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from tokenizers import Tokenizer
from torch import nn
from transformers import BertForMaskedLM, BertModel, PreTrainedTokenizerFast

from tercet.checkpoint import HEADS, MASKED_WORDS, QUERY_WEIGHTS, HeadName, ModelConfig, SparseForm, token_id
from tercet.errors import CheckpointError
from tercet.models.heads import LateHead, SparseHead
from tercet.models.load import LoadedModel, load_model
from tercet.models.sentence_modules import SparseHeadPooling

SPECIALS = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}


def export_model(
    model: str | Path,
    into: Path,
    *,
    heads: tuple[HeadName, ...] | None = None,
    weights: Literal["f32", "f16"] = "f32",
) -> dict[HeadName, Path]:
    """Write one folder for each head: into/dense, into/sparse, into/late.

    model: "tercet-mini", or a checkpoint folder of ours
    heads: all that the checkpoint holds unless some are named

    Raises:
        CheckpointError: there is no such checkpoint, or it does not hold a head that was named.
    """
    loaded = load_model(model)
    held = loaded.config.heads if loaded.weights else ()
    if missing := [head for head in heads or HEADS if head not in held and (heads or not held)]:
        raise CheckpointError(
            f"{model} holds {' and '.join(held) or 'no heads of a tercet checkpoint'}, no {' and no '.join(missing)}; "
            f"name a checkpoint that tercet trained, built or imported"
        )
    written: dict[HeadName, Path] = {}
    for head in heads or held:
        written[head] = into / head
        exported = _exported(loaded, head)
        if weights == "f16":
            exported.half()
        exported.save(str(written[head]), create_model_card=False)
        for path in written[head].rglob("tokenizer_config.json"):
            _name_for_all_versions(path)
        (written[head] / "README.md").write_text(_card(loaded.config, head), encoding="utf-8")
    return written


def open_sparse_encoder(folder: str | Path, *, device: str | None = None) -> SparseEncoder:
    """A SparseEncoder from an exported folder whose head is ours, without `trust_remote_code`."""
    place = Path(folder)
    modules = json.loads((place / "modules.json").read_text(encoding="utf-8"))
    own = [module["path"] for module in modules if module["type"].endswith(f".{SparseHeadPooling.__name__}")]
    if not own:
        return SparseEncoder(str(place), device=device)
    settings = json.loads((place / "config_sentence_transformers.json").read_text(encoding="utf-8"))
    pooling = SparseHeadPooling.load(str(place), subfolder=own[0])
    return SparseEncoder(modules=[Transformer.load(str(place)), pooling], prompts=settings["prompts"], device=device)


# --- the three heads ---


def _exported(loaded: LoadedModel, head: HeadName) -> Any:
    if head == "sparse" and loaded.sparse is not None:
        return _sparse(loaded, loaded.sparse)
    if head == "late" and loaded.late is not None:
        return _late(loaded, loaded.late)
    return _dense(loaded)


def _dense(loaded: LoadedModel) -> SentenceTransformer:
    modules = [_transformer(loaded), Pooling(loaded.config.hidden, pooling_mode="mean"), Normalize()]
    return SentenceTransformer(modules=modules, prompts=_prompts(loaded.config), device="cpu")


def _late(loaded: LoadedModel, head: LateHead) -> MultiVectorEncoder:
    config = loaded.config
    project = Dense(
        config.hidden,
        config.late_dim,
        bias=False,
        activation_function=nn.Identity(),
        init_weight=head.project.weight.detach(),
        module_input_name="token_embeddings",
    )
    tokenizer = Tokenizer.from_file(str(loaded.tokenizer))
    masks = [MultiVectorMask([token for index in config.skiplist if (token := tokenizer.id_to_token(index))])]
    if not config.late_specials:
        masks.append(MultiVectorMask(_special_tokens(config), skiplist_tasks=["query", "document"]))
    modules: list[nn.Module] = [_transformer(loaded, expansion=True), project, *masks, Normalize("token_embeddings")]
    return MultiVectorEncoder(modules=modules, prompts=_prompts(config), device="cpu")


def _sparse(loaded: LoadedModel, head: SparseHead) -> SparseEncoder:
    config = loaded.config
    modules: list[Module]
    if _is_masked_words(head.form):
        activation: Literal["relu", "log1p_relu"] = "log1p_relu" if head.form.logarithms == 2 else "relu"
        modules = [_transformer(loaded, masked_words=head), SpladePooling(head.form.pooling, activation)]
    else:
        tokenizer = Tokenizer.from_file(str(loaded.tokenizer))
        specials = (*_special_tokens(config), "[PAD]")
        special_ids = [token_id(tokenizer, token, config.name) for token in specials]
        modules = [_transformer(loaded), SparseHeadPooling.of(head, special_ids)]
    table = loaded.weights.get(QUERY_WEIGHTS)
    if table is not None:
        tokenizer_of_queries: Any = _tokenizer(loaded)  # typed as the slow kind there
        queries = SparseStaticEmbedding(tokenizer_of_queries, torch.from_numpy(table.copy()))
        modules = [Router.for_query_document(query_modules=[queries], document_modules=modules)]
    return SparseEncoder(modules=[*modules], prompts=_prompts(config), device="cpu")


def _is_masked_words(form: SparseForm) -> bool:
    """SpladePooling knows both poolings and one or two logarithms of BERT's own head; anything else is ours."""
    return dataclasses.replace(form, pooling="max", logarithms=1) == MASKED_WORDS


# --- what they share ---


def _transformer(
    loaded: LoadedModel, *, expansion: bool = False, masked_words: SparseHead | None = None
) -> Transformer:
    """The trunk with its tokenizer and limits; sentence-transformers makes one of a folder only."""
    config = loaded.config
    options: dict[str, Any] = {
        "query_length": config.max_query_tokens,
        "document_length": config.max_document_tokens,
    }
    if expansion and config.query_augmentation:
        fixed = config.query_augmentation == config.max_query_tokens
        options["query_expansion"] = {
            "strategy": "fixed" if fixed else "min",
            "attend": config.attend_to_augmentation,
            "length": config.query_augmentation,
        }
    with tempfile.TemporaryDirectory() as folder:
        if masked_words is None:
            _with_pooler(loaded.trunk).save_pretrained(folder)
        else:
            _masked_language_model(loaded.trunk, masked_words).save_pretrained(folder)
            options["transformer_task"] = "fill-mask"
        _tokenizer(loaded).save_pretrained(folder)
        transformer: Transformer = Transformer(folder, model_kwargs={"use_safetensors": True}, **options)
    return transformer


def _with_pooler(trunk: BertModel) -> BertModel:
    """Nobody reads BERT's pooler here, but whoever loads a BERT without one is warned of weights drawn at random."""
    model = BertModel(trunk.config)
    model.load_state_dict(trunk.state_dict(), strict=False)
    for name, parameter in model.named_parameters():
        if name.startswith("pooler."):
            nn.init.zeros_(parameter)
    return model


def _masked_language_model(trunk: BertModel, head: SparseHead) -> BertForMaskedLM:
    """The decoder is stored beside the word embeddings: rounding has moved them apart, if they ever were one."""
    config = type(trunk.config)(**{**trunk.config.to_dict(), "tie_word_embeddings": False})
    model = BertForMaskedLM(config)
    model.bert.load_state_dict(trunk.state_dict(), strict=False)
    predictions = model.cls.predictions
    predictions.transform.dense.load_state_dict(head.transform.state_dict())
    predictions.transform.LayerNorm.load_state_dict(head.norm.state_dict())
    with torch.no_grad():
        predictions.decoder.weight.copy_(head.decoder)
        predictions.decoder.bias.copy_(head.bias)
        predictions.bias.copy_(head.bias)
    return model


def _tokenizer(loaded: LoadedModel) -> PreTrainedTokenizerFast:
    config = loaded.config
    markers = [marker for marker in (config.query_marker, config.document_marker) if marker]
    return PreTrainedTokenizerFast(
        tokenizer_file=str(loaded.tokenizer),
        model_max_length=config.max_document_tokens,
        additional_special_tokens=markers,
        **SPECIALS,
    )


def _name_for_all_versions(path: Path) -> None:
    """Version 5 of transformers writes a class that version 4 does not know; both know this one."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    kept = {
        name: settings[name] for name in (*SPECIALS, "model_max_length", "extra_special_tokens") if settings.get(name)
    }
    kept["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def _special_tokens(config: ModelConfig) -> list[str]:
    return ["[CLS]", "[SEP]", *(marker for marker in (config.query_marker, config.document_marker) if marker)]


def _prompts(config: ModelConfig) -> dict[str, str]:
    """A marker is a special token, so that it may stand in the text as the prompt does."""
    sides = {
        "query": (config.query_marker, config.query_prompt),
        "document": (config.document_marker, config.document_prompt),
    }
    return {side: f"{marker} {prompt}" if marker else prompt for side, (marker, prompt) in sides.items()}


def _card(config: ModelConfig, head: HeadName) -> str:
    classes: Mapping[HeadName, str] = {
        "dense": "SentenceTransformer",
        "sparse": "SparseEncoder",
        "late": "MultiVectorEncoder",
    }
    own = head == "sparse" and not _is_masked_words(config.sparse_form)
    flag = ", trust_remote_code=True" if own else ""
    needs = " It needs `pip install tercet`, where the class of the head is." if own else ""
    counted = ""
    if head == "late" and config.late_importance:
        counted = (
            "\nThe rows are tercet's. What each row of a query counts in late interaction, there by its sparse vector, "
            "is not in them: here each counts 1.\n"
        )
    return (
        f"---\nlibrary_name: sentence-transformers\n---\n\n# {config.name}: the {head} head\n\n"
        f"Written by `tercet model export`. Load it with sentence-transformers 6.{needs}\n\n"
        f"```python\nfrom sentence_transformers import {classes[head]}\n\n"
        f'model = {classes[head]}("."{flag})\n'
        f'queries, documents = model.encode_query(["…"]), model.encode_document(["…"])\n```\n'
        f"{counted}"
    )
