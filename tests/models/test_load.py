import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from tercet.checkpoint import Checkpoint
from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.models.export import trunk_tensors, write_model
from tercet.models.load import load_model
from tests import tiny


def test_a_bert_folder_becomes_the_same_trunk(tiny_trunk: Path) -> None:
    loaded = load_model(tiny_trunk)
    theirs = BertModel.from_pretrained(tiny_trunk).eval()
    ids = torch.tensor([[2, 40, 50, 60, 3]])

    assert loaded.sparse is loaded.late is None
    assert torch.allclose(loaded.trunk(ids).last_hidden_state, theirs(ids).last_hidden_state, atol=1e-5)


def test_a_checkpoint_survives_being_loaded_and_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_model(tiny_checkpoint)
    assert loaded.sparse is not None
    assert loaded.late is not None
    state = {name: tensor.numpy() for name, tensor in loaded.trunk.state_dict().items()}
    write_model(
        tmp_path / "again",
        config=loaded.config,
        tokenizer=loaded.tokenizer,
        trunk=trunk_tensors(state, loaded.config.layers),
        sparse=loaded.sparse,
        late=loaded.late,
        calibration=["the cat sat on the mat", "rotate the vault keys"],
        card="",
        kept={name: loaded.weights[name] for name in ("embeddings.word", "embeddings.word.scale")},
    )
    first, again = (MiniEncoder(folder, precision="f32") for folder in (tiny_checkpoint, tmp_path / "again"))
    for text in ("the cat sat on the mat", "a secret vault!"):
        old, new = first.encode_query(text), again.encode_query(text)
        assert np.allclose(old.dense, new.dense, atol=1e-6)
        assert np.allclose(old.multi_vector.vectors, new.multi_vector.vectors, atol=1e-6)
        assert old.sparse.indices.tolist() == new.sparse.indices.tolist()
        assert np.allclose(old.sparse.values, new.sparse.values, atol=2e-2)  # the decoder's rows are rounded again
    old_weights, new_weights = Checkpoint.open(tiny_checkpoint).weights(), Checkpoint.open(tmp_path / "again").weights()
    assert all(
        np.array_equal(old_weights[name], new_weights[name])
        for name in old_weights
        if not name.endswith(".smooth") and "decoder" not in name
    )


def test_the_shipped_model_opens_by_name() -> None:
    assert load_model("tercet-mini").config == MiniEncoder().config


def test_a_model_that_is_not_there_or_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no model 'no-such-model'; name a folder that exists"):
        load_model("no-such-model")
    with pytest.raises(CheckpointError, match=r"config.json, model.safetensors, tokenizer.json not found; it is no"):
        load_model(tmp_path)


def test_heads_without_a_trunk_are_refused(tmp_path: Path) -> None:
    (tmp_path / "1_Dense").mkdir()
    (tmp_path / "1_Dense" / "model.safetensors").touch()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_act": "gelu"}))
    (tmp_path / "tokenizer.json").write_text(tiny.tokenizer().to_str())

    with pytest.raises(CheckpointError, match=r"model.safetensors not found; it has heads \(1_Dense\) without a trunk"):
        load_model(tmp_path)
