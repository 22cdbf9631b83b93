"""A checkpoint in, what there is to say of it out: its parts and sizes, and a model card in Markdown.

Read from the folder alone: tercet.json, the tensors' shapes, and the plan and log that training has left beside them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tercet.checkpoint import HEADS, SIDE, WEIGHTS_FILE, Checkpoint, ModelConfig, default_checkpoint
from tercet.errors import CheckpointError

#: Stored beside weights, and none themselves: scales of rounded rows, factors of int8, lists of terms.
NO_PARAMETERS = (".smooth", ".scale", "sparse.terms")
PLAN_FILE, LOG_FILE = "training.json", "training.csv"


@dataclass(frozen=True, slots=True)
class PartSize:
    """A part of the model. parameters: numbers that were learnt; stored_bytes: in model.safetensors."""

    name: str
    parameters: int
    stored_bytes: int


def part_sizes(checkpoint: Checkpoint) -> list[PartSize]:
    """Trunk and heads, in this order, without reading a weight.

    Raises:
        CheckpointError: model.safetensors cannot be read.
    """
    path = checkpoint.folder / WEIGHTS_FILE
    parameters, stored = dict[str, int](), dict[str, int]()
    try:
        with safe_open(path, "numpy") as tensors:
            for name in tensors.keys():
                part, tensor = _part_of(name), tensors.get_slice(name)
                count = 1
                for length in tensor.get_shape():
                    count *= length
                parameters[part] = parameters.get(part, 0) + (0 if name.endswith(NO_PARAMETERS) else count)
                stored[part] = stored.get(part, 0) + count * _BYTES[tensor.get_dtype()]
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); copy it again") from error
    return [PartSize(part, parameters[part], stored[part]) for part in _PARTS if part in parameters]


def file_sizes(checkpoint: Checkpoint) -> dict[str, int]:
    """Bytes of each file of the folder."""
    return {path.name: path.stat().st_size for path in sorted(checkpoint.folder.iterdir()) if path.is_file()}


def facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything that a card is made of, as JSON values."""
    config = checkpoint.config
    return {
        "name": config.name,
        "folder": str(checkpoint.folder),
        "heads": list(config.heads),
        "parts": {
            part.name: {"parameters": part.parameters, "bytes": part.stored_bytes} for part in part_sizes(checkpoint)
        },
        "files": file_sizes(checkpoint),
        "reads": dict(_reading(config)),
        "fingerprints": {precision: config.fingerprint(precision) for precision in ("int8", "f32")},
    }


def model_card(checkpoint: Checkpoint, evaluations: Sequence[Mapping[str, Any]] = (), *, origin: str = "") -> str:
    """A README for the checkpoint's folder.

    evaluations: as `tercet evaluate --json` prints them
    origin: a sentence on where the weights come from

    Raises:
        CheckpointError: the weights, or what training has left, cannot be read.
        ValueError: an evaluation is of another form.
    """
    config = checkpoint.config
    sizes = part_sizes(checkpoint)
    total = sum(file_sizes(checkpoint).values())
    sections = [
        "---\nlibrary_name: tercet\ntags:\n- retrieval\n"
        + "".join(f"- {_TAGS[head]}\n" for head in config.heads)
        + "---",
        f"# {config.name}",
        " ".join(filter(None, [_summary(config), origin])),
        _table(("part", "parameters", "stored"), [(_named(part.name, config), *_size(part)) for part in sizes]),
        f"{total / 1e6:.1f} MB in all. `int8` runs on rounded weights with fixed scales, `f32` on the stored ones.",
        "## Use",
        _usage(checkpoint),
        "## What it reads",
        _table(("", ""), list(_reading(config).items())),
    ]
    if trained := _training(checkpoint.folder):
        sections += ["## Training", trained]
    if evaluations:
        sections += ["## Results", *map(_results, evaluations)]
    return "\n\n".join(sections) + "\n"


# --- the parts of a card ---

_PARTS = ("trunk", "sparse", "side", "late")
_TAGS = {"dense": "dense", "sparse": "splade", "late": "colbert"}
_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1}


def _part_of(name: str) -> str:
    if name.startswith(SIDE):
        return "side"
    head = name.split(".", maxsplit=1)[0]
    return head if head in ("sparse", "late") else "trunk"


def _summary(config: ModelConfig) -> str:
    made = {
        "dense": f"a dense vector of {config.hidden}",
        "sparse": f"SPLADE weights over {config.sparse_terms:,} terms",
        "late": f"{config.late_dim} dimensions a token for late interaction",
    }
    told = [made[head] for head in HEADS if head in config.heads]
    listed = ", ".join(told[:-1]) + (" and " if len(told) > 1 else "") + told[-1]
    return f"One BERT of {config.layers} layers, {config.hidden} wide; from one pass over a text it makes {listed}."


def _named(part: str, config: ModelConfig) -> str:
    if part == "sparse":
        form = config.sparse_form
        rank = f"rank {config.sparse_rank}" if form.projected else "full rank"
        extra = ", bonus for a text's own words" if form.bonus else ""
        return f"sparse head: {rank}{extra}, pooled by {form.pooling}"
    if part == "late":
        return f"late head: {config.hidden} → {config.late_dim}"
    return (
        "side network of the sparse head" if part == "side" else "trunk" + _if("dense" in config.heads, " (dense head)")
    )


def _size(part: PartSize) -> tuple[str, str]:
    return f"{part.parameters:,}", f"{part.stored_bytes / 1e6:.1f} MB"


def _usage(checkpoint: Checkpoint) -> str:
    name, heads = checkpoint.config.name, checkpoint.config.heads
    shipped = checkpoint.folder == default_checkpoint()
    place = "" if shipped else f'"{name}" is the folder. '
    if set(heads) == set(HEADS):
        made = "MiniEncoder()" if shipped else f'MiniEncoder("{name}")'
        imported = "from tercet.encoders.mini import MiniEncoder"
    else:
        chosen = ", ".join(f'{head}="{name if head in heads else "tercet-mini"}"' for head in HEADS)
        made, imported = f"ComposedEncoder.load({chosen})", "from tercet.encoders.composed import ComposedEncoder"
    return (
        f"```python\nfrom tercet import HybridIndex\n{imported}\n\n"
        f'index = HybridIndex.open("kb", encoder={made})\n```\n\n'
        f"{place}`tercet model export {name} --into exported` writes it for sentence-transformers."
    )


def _reading(config: ModelConfig) -> dict[str, str]:
    """What happens to a text before the trunk sees it, in words."""
    reading = {
        "queries": f"up to {config.max_query_tokens} word pieces",
        "documents": f"up to {config.max_document_tokens} word pieces",
    }
    for side, prompt, marker in (
        ("queries", config.query_prompt, config.query_marker),
        ("documents", config.document_prompt, config.document_marker),
    ):
        reading[side] += _if(marker, f", after the marker `{marker}`") + _if(prompt, f", after the prompt {prompt!r}")
    if "late" in config.heads:
        if config.query_augmentation:
            seen = "seen" if config.attend_to_augmentation else "not seen"
            reading["queries"] += (
                f"; filled up to {config.query_augmentation} with [MASK]s, {seen} by the query's own tokens"
            )
        rows = "a row for [CLS] and [SEP], too" if config.late_specials else "no row for [CLS] and [SEP]"
        reading["multi-vectors"] = f"{rows}; {len(config.skiplist)} tokens of documents have none (punctuation)"
    if config.late_importance:
        reading["multi-vectors"] += (
            f"; a query's rows count by the weights of their words in its sparse vector, {config.late_importance:g}"
        )
    if "sparse" in config.heads:
        form = config.sparse_form
        logarithm = "log1p(relu)" if form.logarithms == 1 else "log1p(log1p(relu))"
        reading["sparse vectors"] = (
            f"{form.pooling} over tokens{_if(form.specials, ' and [CLS] and [SEP]')} of {logarithm}"
        )
    reading["vocabulary"] = f"{config.vocabulary_size:,} word pieces"
    return reading


def _training(folder: Path) -> str:
    """What the plan and the log beside a trained checkpoint say; empty where there are none."""
    plan, log = folder / PLAN_FILE, folder / LOG_FILE
    if not plan.is_file():
        return ""
    try:
        said = json.loads(plan.read_text(encoding="utf-8"))
        with log.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"what training has left in {folder} cannot be read ({error})") from error
    told = [
        (f"`{name}`", f"`{json.dumps(value)}`") for name, value in _flat(said).items() if name != "examples" and value
    ]
    text = f"The plan, in {PLAN_FILE}; every step stands in {LOG_FILE}.\n\n" + _table(("", ""), told)
    measured = [column for column in (rows[0] if rows else {}) if column.startswith("ndcg")]
    if measured:
        first, last = ([row for row in rows if row[measured[0]]][at] for at in (0, -1))
        table = [(column, first[column], last[column]) for column in measured]
        text += "\n\nOn queries that were held out:\n\n" + _table(("", "before", "after"), table)
    return text


def _flat(said: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in said.items():
        flat |= _flat(value) if isinstance(value, Mapping) and name == "plan" else {name: value}
    return flat


def _results(evaluation: Mapping[str, Any]) -> str:
    try:
        measures = list(evaluation["measures"])
        rows = [
            (name, *(f"{system['scores'][measure]:.3f}" for measure in measures))
            for name, system in evaluation["systems"].items()
        ]
        heading = (
            f"{Path(evaluation['collection']).name}: {evaluation['queries']:,} queries, "
            f"{evaluation['documents']:,} documents, {evaluation['encoder']}."
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"this is no result of `tercet evaluate --json`: {error!r} is missing or of another kind"
        ) from error
    return f"{heading}\n\n{_table(('', *measures), rows)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _if(condition: object, text: str) -> str:
    return text if condition else ""
