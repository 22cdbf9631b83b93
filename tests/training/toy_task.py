"""A task that a two-layer BERT learns in seconds: a query says words, its document says their partners."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from transformers import BertModel

from tercet.models.export import write_checkpoint
from tercet.training.data import Example
from tests import tiny

WORDS = [word for word in tiny.WORDS if len(word) > 1]
ASKED, ANSWERS, FILL = WORDS[:10], WORDS[10:20], WORDS[20:]


def examples(count: int = 120, *, negatives: int = 0, seed: int = 0) -> list[Example]:
    """Only what a word stands for can find the document: they share no word."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        picks = rng.sample(range(len(ASKED)), 3)
        others = [rng.sample([n for n in range(len(ASKED)) if n not in picks], 3) for _ in range(negatives)]
        documents = [
            " ".join([*(ANSWERS[pick] for pick in chosen), *rng.sample(FILL, 2)]) for chosen in (picks, *others)
        ]
        scores = tuple(5.0 if n == 0 else float(len(set(picks) & set(others[n - 1]))) for n in range(1 + negatives))
        made.append(
            Example(
                " ".join(ASKED[pick] for pick in picks),
                documents[0],
                tuple(documents[1:]),
                scores if negatives else (),
                "toy",
            )
        )
    return list({example.query: example for example in made}.values())


def write_toy_model(folder: Path, trunk: Path) -> Path:
    """A checkpoint whose words keep apart in the tiny trunk: its layers change little, as a trained one's would."""
    model = BertModel.from_pretrained(trunk)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            if parameter.ndim == 2:
                parameter.mul_(0.1)
    model.save_pretrained(folder / "trunk")
    (folder / "trunk" / "tokenizer.json").write_text((trunk / "tokenizer.json").read_text())
    sparse, late = tiny.heads(model)
    write_checkpoint(
        folder / "model", name="toy", trunk=folder / "trunk", sparse=sparse, late=late, calibration=WORDS, card="toy\n"
    )
    return folder / "model"
