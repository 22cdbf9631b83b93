"""Models of other libraries in, trunk and heads of ours out: every layout in which a SPLADE or a ColBERT is stored.

| what a folder holds                                              | becomes        |
|------------------------------------------------------------------|----------------|
| Hugging Face's BERT or DistilBERT …ForMaskedLM                   | a sparse head  |
| sentence-transformers' SparseEncoder, with SpladePooling         | a sparse head  |
| … whose queries are a SparseStaticEmbedding (inference-free)     | and its table  |
| … with tercet's own head, as `tercet model export` writes it     | a sparse head  |
| sentence-transformers' MultiVectorEncoder                        | a late head    |
| PyLate's ColBERT                                                 | a late head    |
| Stanford's ColBERT (artifact.metadata, linear.weight)            | a late head    |
| sentence-transformers' SentenceTransformer that pools by mean    | the dense head |
| Hugging Face's BERT or DistilBERT without a head                 | a trunk alone  |

Nothing of the folder is run: JSON and safetensors are read, whatever classes they name.
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tercet.checkpoint import MASKED_WORDS, TOKENIZER_FILE, Checkpoint, HeadName, ModelConfig, SparseForm
from tercet.errors import CheckpointError
from tercet.hub import find_model
from tercet.model_card import model_card
from tercet.models.bert_folder import (
    Tensors,
    bert_tensors,
    config_of_bert,
    open_tokenizer,
    punctuation,
    read_json,
    read_tensors,
)
from tercet.models.export import trunk_tensors, write_model
from tercet.models.heads import LateHead, SparseHead

#: ColBERT's query length where a folder does not tell it (Khattab & Zaharia, 2020).
QUERY_LENGTH = 32

#: The modules of a sparse head of ours, see tercet.models.sentence_folders.
OWN = ["Transformer", "SparseHeadPooling"]

MODULES, SETTINGS, TRANSFORMER = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """A model of another library in our parts, in f32.

    heads: what its makers trained, of the heads that we know
    trunk: tensors under BertModel's names
    query_weights: (vocabulary,), zero at tokens that weigh nothing; None where queries go through the model
    """

    config: ModelConfig
    tokenizer: Path
    heads: tuple[HeadName, ...]
    trunk: Tensors
    sparse: SparseHead | None = None
    late: LateHead | None = None
    query_weights: NDArray[np.float32] | None = None


def import_model(name: str | Path, into: Path, *, calibration: Sequence[str]) -> Checkpoint:
    """Write another library's model as a checkpoint that runs without torch, with the heads that it has.

    Word embeddings and decoder are rounded to int8 rows, the rest of the trunk to float16, as in every checkpoint.

    name: a folder, or "organisation/model"
    calibration: texts like those to be encoded; the ranges of int8 come from them

    Raises:
        CheckpointError: it is no layout of the table above, has no head, or is no BERT.
    """
    foreign = read_foreign(find_model(name))
    if not foreign.heads:
        raise CheckpointError(f"{name} is a trunk without a head; train heads on it: tercet train heads --from {name}")
    config = dataclasses.replace(foreign.config, name=str(name).rstrip("/").rsplit("/", maxsplit=1)[-1])
    checkpoint = write_model(
        into,
        config=config,
        tokenizer=foreign.tokenizer,
        trunk=trunk_tensors(foreign.trunk, config.layers),
        sparse=foreign.sparse,
        late=foreign.late,
        calibration=calibration,
        card="",
        heads=foreign.heads,
        query_weights=foreign.query_weights,
    )
    card = model_card(checkpoint, origin=f"Imported from `{name}`; its licence is that of its makers.")
    (into / "README.md").write_text(card, encoding="utf-8")
    return checkpoint


def read_foreign(folder: Path) -> ForeignModel:
    """Read a folder of any layout in the table above.

    Raises:
        CheckpointError: it is none of them, or computes something that our heads do not.
    """
    if not (folder / MODULES).is_file():
        return _read_plain(folder)
    modules = [
        (str(module["type"]).rsplit(".", maxsplit=1)[-1], folder / module["path"]) for module in _modules(folder)
    ]
    names = [name for name, _ in modules]
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    if names == ["Router"]:
        return _read_router(folder, settings)
    if "SpladePooling" in names:
        return _read_splade(folder, modules, settings)
    if names == OWN:
        return _read_own(modules[0][1], modules[1][1], settings)
    if "Pooling" in names:
        return _read_dense(folder, modules, settings)
    if "Dense" in names:
        return _read_late(folder, modules, settings)
    raise _unknown(folder, f"its modules are {', '.join(names)}")


# --- SPLADE ---


def _read_splade(folder: Path, modules: Sequence[tuple[str, Path]], settings: Mapping[str, Any]) -> ForeignModel:
    names = [name for name, _ in modules]
    if names not in (["Transformer", "SpladePooling"], ["MLMTransformer", "SpladePooling"]):
        raise _unknown(folder, f"its modules are {', '.join(names)}, a SPLADE has Transformer and SpladePooling")
    (_, trunk), (_, pooling) = modules
    options = read_json(pooling / "config.json")
    strategy, activation = options.get("pooling_strategy", "max"), options.get("activation_function", "relu")
    if strategy not in ("max", "sum") or activation not in ("relu", "log1p_relu"):
        raise _unknown(folder, f"SpladePooling is {strategy!r} of {activation!r}")
    form = dataclasses.replace(MASKED_WORDS, pooling=strategy, logarithms=2 if activation == "log1p_relu" else 1)
    return _with_masked_words(trunk, form=form, settings=settings)


def _read_router(folder: Path, settings: Mapping[str, Any]) -> ForeignModel:
    """Documents through a SPLADE, queries through a table: SPLADE-doc, OpenSearch's neural sparse models."""
    router = read_json(folder / "router_config.json")
    routes = {
        route: [(str(router["types"][part]).rsplit(".", maxsplit=1)[-1], folder / part) for part in parts]
        for route, parts in router["structure"].items()
    }
    queries = routes.get("query", [])
    if [name for name, _ in queries] != ["SparseStaticEmbedding"] or "document" not in routes:
        told = "; ".join(f"{route}: {', '.join(name for name, _ in parts)}" for route, parts in routes.items())
        raise _unknown(
            folder, f"its routes are {told}; known is query: SparseStaticEmbedding beside document: a SPLADE"
        )
    documents = routes["document"]
    if [name for name, _ in documents] == OWN:
        foreign = _read_own(documents[0][1], documents[1][1], settings)
    else:
        foreign = _read_splade(folder, documents, settings)
    weights = _static_weights(queries[0][1], open_tokenizer(queries[0][1]), foreign.config.vocabulary_size)
    return dataclasses.replace(foreign, query_weights=weights)


def _static_weights(folder: Path, tokenizer: Tokenizer, vocabulary_size: int) -> NDArray[np.float32]:
    """(vocabulary,): a query's words are weighed without [CLS] and [SEP], which ours read, too."""
    weights = np.zeros(vocabulary_size, np.float32)
    path = read_json(folder / "config.json").get("path")
    if path is None:
        stored = read_tensors(folder / "model.safetensors")["weight"]
        weights[: len(stored)] = stored
    else:
        for token, weight in read_json(folder / Path(path).name).items():
            if (index := tokenizer.token_to_id(token)) is not None:
                weights[index] = weight
    weights[list(_ids(tokenizer, ["[CLS]", "[SEP]", "[PAD]"]))] = 0
    return weights


def _with_masked_words(folder: Path, *, form: Any = MASKED_WORDS, settings: Mapping[str, Any]) -> ForeignModel:
    config, tensors = _trunk(folder, settings)
    prefix = "cls.predictions"
    if f"{prefix}.transform.dense.weight" not in tensors:
        raise CheckpointError(f"{folder} has no head for masked words (cls.predictions); is it saved without its head?")
    words = tensors["embeddings.word_embeddings.weight"]
    head = SparseHead(config.hidden, config.vocabulary_size, config.hidden, form)
    head.norm.eps = config.layer_norm_eps
    state = {
        "transform.weight": tensors[f"{prefix}.transform.dense.weight"],
        "transform.bias": tensors[f"{prefix}.transform.dense.bias"],
        "norm.weight": tensors[f"{prefix}.transform.LayerNorm.weight"],
        "norm.bias": tensors[f"{prefix}.transform.LayerNorm.bias"],
        # Most share it with the word embeddings, and are stored without it then.
        "decoder": tensors.get(f"{prefix}.decoder.weight", words),
        # A decoder that shares nothing may have a bias of its own, and it is that which is added.
        "bias": tensors[f"{prefix}.decoder.bias" if f"{prefix}.decoder.bias" in tensors else f"{prefix}.bias"],
    }
    head.load_state_dict({name: torch.from_numpy(tensor.copy()) for name, tensor in state.items()})
    return ForeignModel(config, folder / TOKENIZER_FILE, ("sparse",), tensors, sparse=head)


def _read_own(trunk: Path, place: Path, settings: Mapping[str, Any]) -> ForeignModel:
    """What `tercet.models.sentence_folders` has written of a head of our form."""
    config, tensors = _trunk(trunk, settings)
    options = read_json(place / "config.json")
    try:
        form = SparseForm.from_dict(options["form"])
        head = SparseHead(options["hidden"], options["vocabulary_size"], options["rank"], form)
        state = read_tensors(place / "model.safetensors")
        head.load_state_dict({name.removeprefix("head."): torch.from_numpy(tensor) for name, tensor in state.items()})
        head.norm.eps = options["norm_eps"]
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{place} is no sparse head of this version of tercet ({error})") from error
    config = dataclasses.replace(config, **_markers(settings, open_tokenizer(trunk)))
    return ForeignModel(config, trunk / TOKENIZER_FILE, ("sparse",), tensors, sparse=head)


# --- ColBERT ---


def _read_late(folder: Path, modules: Sequence[tuple[str, Path]], settings: Mapping[str, Any]) -> ForeignModel:
    (kind, trunk), *others = modules
    dense = [place for name, place in others if name == "Dense"]
    if (
        kind != "Transformer"
        or len(dense) != 1
        or any(name not in ("Dense", "MultiVectorMask", "Normalize") for name, _ in others)
    ):
        told = ", ".join(name for name, _ in modules)
        raise _unknown(folder, f"its modules are {told}; known is a Transformer with one Dense")
    config, tensors = _trunk(trunk, settings)
    tokenizer = open_tokenizer(trunk)
    pylate = _is_pylate(settings)
    saved = {} if pylate else read_json(trunk / TRANSFORMER)
    reading = _pylate_reading(settings) if pylate else _reading(saved, settings, tokenizer)
    masks = [read_json(place / "config.json") for name, place in others if name == "MultiVectorMask"]
    if masks:
        reading |= _masked(folder, masks, tokenizer)
    else:
        marks = settings.get("skiplist_words")
        reading["skiplist"] = _ids(tokenizer, list(string.punctuation) if marks is None else marks)
    config = _limited(dataclasses.replace(config, **_given(reading, config)))
    _check_markers(folder, config, tokenizer)
    return ForeignModel(
        config, trunk / TOKENIZER_FILE, ("late",), tensors, late=_projection(folder, dense[0], config.hidden)
    )


def _is_pylate(settings: Mapping[str, Any]) -> bool:
    return settings.get("model_type") == "ColBERT" or "query_prefix" in settings or "skiplist_words" in settings


def _pylate_reading(settings: Mapping[str, Any]) -> dict[str, Any]:
    """How PyLate's config says that texts are read; prefixes are tokens, a prompt stands behind them."""
    length = settings.get("query_length") or QUERY_LENGTH
    expands = settings.get("do_query_expansion") is not False
    return {
        "query_marker": (settings.get("query_prefix") or "").strip(),
        "document_marker": (settings.get("document_prefix") or "").strip(),
        "late_specials": True,
        "max_query_tokens": length,
        "max_document_tokens": settings.get("document_length"),
        "query_augmentation": length if expands else 0,
        "attend_to_augmentation": bool(settings.get("attend_to_expansion_tokens")),
    }


def _reading(saved: Mapping[str, Any], settings: Mapping[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """How a MultiVectorEncoder's Transformer says that texts are read."""
    reading: dict[str, Any] = {"late_specials": True, **_markers(settings, tokenizer)}
    expansion = saved.get("query_expansion")
    if expansion:
        if expansion.get("token") not in (None, "[MASK]"):
            raise CheckpointError(f"queries are filled with {expansion['token']!r}, the runtime fills them with [MASK]")
        reading["query_augmentation"] = expansion["length"]
        reading["attend_to_augmentation"] = bool(expansion.get("attend"))
        if expansion["strategy"] == "fixed":
            reading["max_query_tokens"] = expansion["length"]
    return reading


def _markers(settings: Mapping[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """A prompt that begins with a special token has a marker."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    found: dict[str, Any] = {}
    for side in ("query", "document"):
        marker, _, prompt = ((settings.get("prompts") or {}).get(side) or "").partition(" ")
        if marker in special:
            found |= {f"{side}_marker": marker, f"{side}_prompt": prompt}
    return found


def _masked(folder: Path, masks: Sequence[Mapping[str, Any]], tokenizer: Tokenizer) -> dict[str, Any]:
    """Which tokens have no row. Of queries only [CLS] and [SEP] may be left out, and then of documents, too."""
    skipped: list[str] = []
    specials = True
    for mask in masks:
        words, sides = mask.get("skiplist_words") or [], mask.get("skiplist_tasks") or ["document"]
        if mask.get("keep_only_token_ids"):
            raise _unknown(folder, "it keeps the vectors of some tokens only")
        if "query" in sides and words:
            if set(words) - {"[CLS]", "[SEP]", "[PAD]"} or "document" not in sides:
                raise _unknown(folder, f"it leaves {', '.join(words[:3])} out of queries")
            specials = False
        else:
            skipped += words
    return {"skiplist": _ids(tokenizer, skipped), "late_specials": specials}


def _projection(folder: Path, place: Path, hidden: int) -> LateHead:
    options = read_json(place / "config.json")
    activation = str(options.get("activation_function", "")).rsplit(".", maxsplit=1)[-1]
    if options.get("bias") or activation != "Identity" or options.get("use_residual"):
        raise _unknown(folder, f"its Dense has bias, residual or {activation}; a late head is one plain matrix")
    return _late_head(read_tensors(place / "model.safetensors")["linear.weight"], hidden, folder)


def _late_head(matrix: NDArray[Any], hidden: int, folder: Path) -> LateHead:
    if matrix.shape[1] != hidden:
        raise CheckpointError(f"{folder}: the projection reads {matrix.shape[1]} numbers, its trunk makes {hidden}")
    late = LateHead(hidden, len(matrix))
    late.load_state_dict({"project.weight": torch.from_numpy(matrix.copy())})
    return late


def _read_stanford(folder: Path) -> ForeignModel:
    config, tensors = _trunk(folder, {})
    if "linear.weight" not in tensors:
        raise CheckpointError(f"{folder} is a ColBERT of Stanford's layout without linear.weight, its projection")
    place = folder / "artifact.metadata"
    said = read_json(place) if place.is_file() else {}
    tokenizer = open_tokenizer(folder)
    length = said.get("query_maxlen") or QUERY_LENGTH
    reading = {
        "query_marker": said.get("query_token_id") or "[unused0]",
        "document_marker": said.get("doc_token_id") or "[unused1]",
        "late_specials": True,
        "max_query_tokens": length,
        "max_document_tokens": said.get("doc_maxlen"),
        "query_augmentation": length,
        "attend_to_augmentation": bool(said.get("attend_to_mask_tokens")),
        "skiplist": punctuation(tokenizer) if said.get("mask_punctuation", True) else (),
    }
    config = _limited(dataclasses.replace(config, **_given(reading, config)))
    _check_markers(folder, config, tokenizer)
    late = _late_head(tensors["linear.weight"], config.hidden, folder)
    return ForeignModel(config, folder / TOKENIZER_FILE, ("late",), tensors, late=late)


# --- the others ---


def _read_dense(folder: Path, modules: Sequence[tuple[str, Path]], settings: Mapping[str, Any]) -> ForeignModel:
    names = [name for name, _ in modules]
    options = read_json(modules[1][1] / "config.json") if len(names) > 1 and names[1] == "Pooling" else {}
    modes = {name for name, on in options.items() if name.startswith("pooling_mode_") and on is True}
    mean = options.get("pooling_mode") == "mean" or modes == {"pooling_mode_mean_tokens"}
    config, tensors = _trunk(modules[0][1], settings)
    heads: tuple[HeadName, ...] = ("dense",) if mean and set(names[2:]) <= {"Normalize"} else ()
    return ForeignModel(config, modules[0][1] / TOKENIZER_FILE, heads, tensors)


def _read_plain(folder: Path) -> ForeignModel:
    wanted = ("config.json", "model.safetensors", TOKENIZER_FILE)
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing and not any(folder.glob("model*.safetensors")):
        heads = sorted(path.parent.name for path in folder.glob("*/model.safetensors"))
        found = f"it has heads ({', '.join(heads)}) without a trunk" if heads else "it is no model folder"
        raise CheckpointError(f"{folder}: {', '.join(missing)} not found; {found}")
    architectures = read_json(folder / "config.json").get("architectures") or []
    if "HF_ColBERT" in architectures or (folder / "artifact.metadata").is_file():
        return _read_stanford(folder)
    if any(architecture.endswith("ForMaskedLM") for architecture in architectures):
        return _with_masked_words(folder, settings={})
    config = config_of_bert(folder, name=folder.name)
    return ForeignModel(config, folder / TOKENIZER_FILE, (), bert_tensors(folder))


def _trunk(folder: Path, settings: Mapping[str, Any]) -> tuple[ModelConfig, Tensors]:
    """A trunk with the limits and prompts of its makers: how many tokens its tokenizer lets through."""
    config = config_of_bert(folder, name=folder.name)
    limits = [config.max_positions]
    for name, key in (("tokenizer_config.json", "model_max_length"), (TRANSFORMER, "max_seq_length")):
        if (folder / name).is_file() and (limit := read_json(folder / name).get(key)):
            limits.append(int(limit))
    prompts = settings.get("prompts") or {}
    limit = min(limits)
    saved = read_json(folder / TRANSFORMER) if (folder / TRANSFORMER).is_file() else {}
    config = dataclasses.replace(
        config,
        max_query_tokens=min(saved.get("query_length") or limit, config.max_positions),
        max_document_tokens=min(saved.get("document_length") or limit, config.max_positions),
        query_prompt=prompts.get("query") or "",
        document_prompt=prompts.get("document") or prompts.get("passage") or "",
    )
    return config, bert_tensors(folder)


def _given(reading: Mapping[str, Any], config: ModelConfig) -> dict[str, Any]:
    """What was said; a length that nobody tells stays the tokenizer's."""
    return {name: getattr(config, name) if value is None else value for name, value in reading.items()}


def _limited(config: ModelConfig) -> ModelConfig:
    most = config.max_positions
    return dataclasses.replace(
        config,
        max_query_tokens=min(max(config.max_query_tokens, config.query_augmentation), most),
        max_document_tokens=min(config.max_document_tokens, most),
    )


def _check_markers(folder: Path, config: ModelConfig, tokenizer: Tokenizer) -> None:
    for marker in (config.query_marker, config.document_marker):
        if marker and tokenizer.token_to_id(marker) is None:
            raise CheckpointError(f"{folder}: the tokenizer has no {marker!r}, which the config calls a marker")


def _ids(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[int, ...]:
    """Words that are no single token of the vocabulary are left out, as in the library that wrote them."""
    return tuple(sorted(index for word in words if (index := tokenizer.token_to_id(word)) is not None))


def _modules(folder: Path) -> list[dict[str, Any]]:
    modules = read_json(folder / MODULES)
    if not isinstance(modules, list) or not all({"type", "path"} <= set(module) for module in modules):
        raise CheckpointError(f"{folder / MODULES} is no list of modules; copy the folder again")
    return modules


def _unknown(folder: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{folder} cannot become a checkpoint: {why}. tercet.encoders.composed.ComposedEncoder runs it as it is, "
        f"through sentence-transformers"
    )
