"""Learning to guess hidden words: equal to BERT's own loss, better on sentences that were never seen, resumable."""

import csv
import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from tercet.checkpoint import SparseForm
from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError, InvalidTrainingData
from tercet.models.heads import SparseHead
from tercet.training.masking import Masking
from tercet.training.mlm import MlmTrainer, masked_word_loss, train_mlm, train_mlm_into
from tercet.training.mlm_plan import MlmPlan
from tercet.training.model import ThreeHeads
from tercet.training.run import Row
from tests import tiny

PLAN = MlmPlan(steps=200, batch_size=16, held_out=40, learning_rate=1e-2, trunk_learning_rate=1e-3, evaluate_every=100)
SHORT = dataclasses.replace(PLAN, steps=6, batch_size=8, save_every=2, evaluate_every=3)


def sentences(count: int = 400) -> list[str]:
    """What a word may follow is told by the word before: who guesses it has read the context."""
    rng = random.Random(0)
    after = {
        "cat": "sat",
        "dog": "chased",
        "red": "apple",
        "green": "pear",
        "heart": "attack",
        "rotate": "keys",
        "date": "string",
    }
    made = []
    for _ in range(count):
        first = rng.sample(sorted(after), 3)
        made.append(" ".join(f"the {word} {after[word]}" for word in first))
    return made


# --- the loss ---


def test_loss_and_gradients_are_those_of_transformers() -> None:
    """BERT's head is LN(GELU(W h + c)), ours LN(GELU(T h) + h); both are LN(h) at W = 1, c = 20 and T = 0.

    GELU(h + 20) is h + 20 to the last digit of a float64, and LN takes the 20 away.
    """
    torch.manual_seed(0)
    size = len(tiny.VOCABULARY)
    config = BertConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        layer_norm_eps=1e-12,
        tie_word_embeddings=False,
    )
    theirs = BertForMaskedLM(config).double().eval()
    head = SparseHead(32, size, 32).double()
    predictions = theirs.cls.predictions
    with torch.no_grad():
        predictions.transform.dense.weight.copy_(torch.eye(32))
        predictions.transform.dense.bias.fill_(20.0)
        predictions.transform.LayerNorm.weight.uniform_(0.5, 2)
        predictions.transform.LayerNorm.bias.normal_()
        predictions.decoder.weight.normal_()
        predictions.decoder.bias.normal_()
        head.transform.weight.zero_()
        head.transform.bias.zero_()
        head.norm.load_state_dict(predictions.transform.LayerNorm.state_dict())
        head.norm.eps = 1e-12
        head.project.weight.copy_(torch.eye(32))  # type: ignore[operator, union-attr]
        head.decoder.copy_(predictions.decoder.weight)
        head.bias.copy_(predictions.decoder.bias)
    masking = Masking(tiny.tokenizer(), np.arange(size) >= 5, share=0.3)
    texts = ["the cat sat on the mat", "a red apple", "rotate the secret keys of the vault"]
    batch = masking.batch(masking.cut(tiny.tokenizer(), texts, max_tokens=64), np.random.default_rng(0))
    labels = torch.full_like(batch.token_ids, -100)
    labels[batch.asked] = batch.targets

    answer = theirs(
        input_ids=batch.token_ids, attention_mask=batch.mask.long(), labels=labels, output_hidden_states=True
    )
    states = answer.hidden_states[-1].detach().requires_grad_()
    inner = batch.inner
    ours, right = masked_word_loss(
        head, states[inner], batch.token_ids[inner], inner.sum(dim=1).tolist(), batch.asked[inner], batch.targets
    )
    answer.hidden_states[-1].retain_grad()
    answer.loss.backward()
    ours.backward()

    assert ours.item() == pytest.approx(answer.loss.item(), abs=1e-5)
    assert int(right) == int((answer.logits.argmax(dim=-1) == labels).sum())
    for got, want in (
        (head.decoder.grad, predictions.decoder.weight.grad),
        (head.bias.grad, predictions.decoder.bias.grad),
        (head.norm.weight.grad, predictions.transform.LayerNorm.weight.grad),
        (states.grad, answer.hidden_states[-1].grad),
    ):
        assert torch.allclose(got, want, atol=1e-6)
    assert head.term_bonus.grad is None


# --- learning ---


@pytest.mark.parametrize("layers", [0, "all"])
def test_hidden_words_of_unseen_sentences_are_guessed_better(toy_model: Path, layers: Any) -> None:
    texts = sentences()
    model = ThreeHeads.open(toy_model)
    bonus = model.sparse.term_bonus.detach().clone()
    report = train_mlm(model, texts, dataclasses.replace(PLAN, unfrozen_layers=layers))

    assert report.after > report.before + 0.25
    assert report.log[-1]["held_out_loss"] < 0.7 * report.log[0]["held_out_loss"]
    assert torch.equal(model.sparse.term_bonus, bonus)


def test_a_bert_alone_gets_a_head_that_guesses(tiny_trunk: Path) -> None:
    model = ThreeHeads.open(tiny_trunk)
    report = train_mlm(model, sentences(), dataclasses.replace(PLAN, unfrozen_layers=1))

    assert report.after > report.before + 0.15
    assert model.sparse.bias[tiny.VOCABULARY.index("[MASK]")] == -1e4  # never a term


def test_a_side_network_reads_the_hidden_words_as_hidden(tiny_trunk: Path, toy_model: Path) -> None:
    from tercet.checkpoint import SideNetwork

    side = SideNetwork(
        hidden=8, layers=1, attention_heads=2, intermediate=16, max_positions=64, layer_norm_eps=1e-12,
        first_token=2, last_token=3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = ThreeHeads.open(toy_model)
    head = SparseHead(32, len(tiny.VOCABULARY), 8, SparseForm(side=side))
    head.load_state_dict(model.sparse.state_dict(), strict=False)
    model.sparse = head
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    report = train_mlm(model, sentences(), dataclasses.replace(PLAN, trunk_learning_rate=1e-2))

    assert report.after > report.before + 0.2
    assert not torch.equal(head.state_dict()["side.transform.weight"], before["side.transform.weight"])


def test_accumulated_batches_count_alike(toy_model: Path) -> None:
    plan = dataclasses.replace(SHORT, steps=1, accumulate=2, learning_rate=1e-9)
    single = dataclasses.replace(SHORT, steps=2, learning_rate=1e-9)
    double = train_mlm(ThreeHeads.open(toy_model), sentences(100), plan).log[1]
    trainer = MlmTrainer(ThreeHeads.open(toy_model), sentences(100), single)
    trainer.begin(0)
    parts = []
    for part in range(2):
        batch = trainer._masking.batch(next(trainer._batches), np.random.default_rng([plan.seed, 0, part]))
        with torch.no_grad():
            parts.append(float(trainer._loss(batch)[0]))

    assert double["loss"] == pytest.approx(np.mean(parts), rel=1e-5)


# --- a run ---


def test_the_folder_holds_a_model_whose_other_heads_are_what_they_were(toy_model: Path, tmp_path: Path) -> None:
    seen: list[Row] = []
    report = train_mlm_into(toy_model, sentences(100), tmp_path / "new", plan=SHORT, observe=seen.append)
    old, new = (
        MiniEncoder(folder, precision="f32").encode_query("cat dog") for folder in (toy_model, tmp_path / "new")
    )

    assert np.array_equal(old.dense, new.dense)
    assert np.array_equal(old.multi_vector.vectors, new.multi_vector.vectors)
    assert not np.array_equal(old.sparse.values, new.sparse.values)
    assert MlmPlan.from_json((tmp_path / "new" / "training.json").read_text()) == SHORT
    assert f"{report.after:.1%} after" in (tmp_path / "new" / "README.md").read_text()
    assert sorted(path.name for path in (tmp_path / "new").glob("training*")) == ["training.csv", "training.json"]
    with (tmp_path / "new" / "training.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [bool(row["held_out_accuracy"]) for row in rows] == [True, False, False, True, False, False, True]
    assert [row.get("loss") for row in seen[1:]] == [float(row["loss"]) for row in rows[1:]]


class Killed(BaseException):
    """What no code catches, like a kill."""


@pytest.mark.parametrize("layers", [0, 1])
def test_a_killed_run_goes_on_with_the_same_losses(toy_model: Path, tmp_path: Path, layers: int) -> None:
    plan = dataclasses.replace(SHORT, unfrozen_layers=layers, accumulate=2)
    whole = train_mlm_into(toy_model, sentences(100), tmp_path / "whole", plan=plan)

    def kill(row: Mapping[str, float]) -> None:
        if row["step"] == 5:
            raise Killed

    with pytest.raises(Killed):
        train_mlm_into(toy_model, sentences(100), tmp_path / "killed", plan=plan, observe=kill)
    with pytest.raises(CheckpointError, match="begun with texts of another kind"):
        train_mlm_into(toy_model, sentences(99), tmp_path / "killed", plan=plan, resume=True)
    resumed = train_mlm_into(toy_model, sentences(100), tmp_path / "killed", plan=plan, resume=True)

    assert [row.get("loss") for row in resumed.log] == [row.get("loss") for row in whole.log]
    assert resumed.after == whole.after
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "killed")]
    assert weights[0] == weights[1]


# --- what cannot work ---


def test_bad_texts_are_refused_before_training(toy_model: Path) -> None:
    model = ThreeHeads.open(toy_model)
    with pytest.raises(InvalidTrainingData, match="text 2 is empty"):
        MlmTrainer(model, ["the cat", " "], SHORT)
    with pytest.raises(InvalidTrainingData, match=r"give 1 pieces .* a batch takes 8; lower batch_size"):
        MlmTrainer(model, ["the cat", "! ?"], SHORT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"mask_share": 1.5}, "at most 1, got 1.5"),
        ({"max_tokens": 3}, "max_tokens must be a whole number of at least 4"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0"),
        ({"precision": "fp16"}, "precision does not know 'fp16'"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MlmPlan(**changes)
