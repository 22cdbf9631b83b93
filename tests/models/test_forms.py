"""Every form of the sparse head: the runtime's graph against the head in torch, on the weights as they are stored."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tercet.checkpoint import MASKED_WORDS, Checkpoint, SideNetwork, SparseForm
from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.models.export import trunk_tensors, write_model
from tercet.models.graph import build_graph
from tercet.models.heads import SparseHead
from tercet.models.load import load_model
from tests import tiny

TEXTS = ["the cat sat on the cat mat", "heart attack treatment", "a", "!?", "rotate the secret keys of a vault"]


def written(folder: Path, trunk: Path, form: SparseForm) -> Path:
    torch.manual_seed(3)
    loaded = load_model(trunk)
    head = SparseHead(32, len(tiny.VOCABULARY), 8 if form.projected else 32, form)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=0.4)
    write_model(
        folder,
        config=loaded.config,
        tokenizer=loaded.tokenizer,
        trunk=trunk_tensors({name: tensor.numpy() for name, tensor in loaded.trunk.state_dict().items()}, 2),
        sparse=head,
        late=None,
        calibration=TEXTS,
        card="",
        heads=("sparse",),
    )
    return folder


SIDE = SideNetwork(
    hidden=8,
    layers=2,
    attention_heads=2,
    intermediate=16,
    layer_norm_eps=1e-12,
    max_positions=64,
    first_token=tiny.VOCABULARY.index("[CLS]"),
    last_token=tiny.VOCABULARY.index("[SEP]"),
)
FORMS = {
    "ours": SparseForm(),
    "ours with term frequency": SparseForm(term_frequency=True),
    "ours with a side network": SparseForm(term_frequency=True, side=SIDE),
    "ours with a side network, summed": SparseForm(side=SIDE, pooling="sum", length_normalization=0.5),
    "ours, evened": SparseForm(length_normalization=0.25),
    "ours, summed": SparseForm(pooling="sum"),
    "ours without bonus": SparseForm(bonus=False),
    "ours summed without bonus": SparseForm(bonus=False, pooling="sum", logarithms=2),
    "masked words": MASKED_WORDS,
    "masked words, summed": SparseForm(
        residual=False, projected=False, bonus=False, specials=True, pooling="sum", logarithms=1
    ),
    "masked words, two logarithms": SparseForm(
        residual=False, projected=False, bonus=False, specials=True, logarithms=2
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_graph_weighs_as_the_head_does(tiny_trunk: Path, tmp_path: Path, form: SparseForm) -> None:
    folder = written(tmp_path / "model", tiny_trunk, form)
    loaded, encoder = load_model(folder), MiniEncoder(folder, precision="f32")
    assert loaded.sparse is not None
    assert loaded.sparse.form == form
    tokenizer = encoder.checkpoint.tokenizer()

    for text, vectors in zip(TEXTS, encoder.document_vectors(TEXTS), strict=True):
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            states = loaded.trunk(ids).last_hidden_state[0]
            read = slice(None) if form.specials else slice(1, -1)
            tokens = ids[0, read]
            [expected] = loaded.sparse(states[read], tokens, [len(tokens)])
        weights = np.zeros(len(tiny.VOCABULARY), np.float32)
        assert vectors.sparse is not None
        weights[vectors.sparse.indices] = vectors.sparse.values
        assert weights == pytest.approx(expected.numpy(), abs=1e-4)
        assert len(vectors.sparse.indices) > 5


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_int8_stays_close_and_each_term_has_its_token(tiny_trunk: Path, tmp_path: Path, form: SparseForm) -> None:
    folder = written(tmp_path / "model", tiny_trunk, form)
    exact, rounded = (MiniEncoder(folder, precision=precision) for precision in ("f32", "int8"))
    text = TEXTS[0]
    ours, other = (next(encoder.document_vectors([text])).sparse for encoder in (exact, rounded))
    assert ours is not None
    assert other is not None
    rows = np.zeros((2, len(tiny.VOCABULARY)))
    rows[0, ours.indices], rows[1, other.indices] = ours.values, other.values

    assert rows[0] @ rows[1] / np.prod(np.linalg.norm(rows, axis=1)) > 0.99
    tokens, origins = exact.document_tokens(text).sparse, exact.document_origins(text)
    assert set(origins) == set(ours.indices.tolist())
    assert [token.special for token in tokens].count(True) == (2 if form.specials else 0)


def test_no_tensor_of_a_summing_graph_holds_all_logits(tiny_trunk: Path, tmp_path: Path) -> None:
    config = Checkpoint.open(written(tmp_path / "model", tiny_trunk, SparseForm(pooling="sum"))).config
    large = dataclasses.replace(config, sparse_terms=30_000, vocabulary_size=30_522)
    sums = [node for node in build_graph(large, "f32").graph.node if node.name.startswith("ReduceSum")]

    assert len(sums) == 59 + 1  # of 512 terms each, and the dot product of each token's own term


def test_a_sparse_checkpoint_alone_is_no_encoder_of_an_index(tiny_trunk: Path, tmp_path: Path) -> None:
    encoder = MiniEncoder(written(tmp_path / "model", tiny_trunk, MASKED_WORDS))

    with pytest.raises(CheckpointError, match=r"holds sparse alone, an index needs dense and late, too; join models"):
        encoder.encode_query("a cat")
