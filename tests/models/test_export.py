import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tercet.checkpoint import Checkpoint
from tercet.encoders.mini import MiniEncoder
from tercet.errors import CheckpointError
from tercet.models.calibration import smoothing_factors
from tercet.models.export import expressible_terms
from tercet.models.graph import build_graph
from tests import tiny


def test_special_entries_and_lone_marks_are_no_terms() -> None:
    terms = {tiny.VOCABULARY[index] for index in expressible_terms(tiny.tokenizer())}

    assert {"a", "z", "##q", "cat", "treatment"} <= terms
    assert not {"[PAD]", "[CLS]", "[MASK]", "!", "~"} & terms


def test_a_large_channel_is_made_smaller_and_the_mean_stays() -> None:
    factors = smoothing_factors(np.array([1.0, 1.0, 100.0], np.float32))

    assert factors[2] / factors[0] == pytest.approx(10)
    assert np.log(factors).mean() == pytest.approx(0, abs=1e-6)


def test_a_trunk_of_another_kind_is_refused(tiny_trunk: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "hidden_act": "gelu_new"}))

    with pytest.raises(CheckpointError, match=r"'gpt2' with 'gelu_new', the runtime graph knows BERT"):
        tiny.write_tiny_checkpoint(tmp_path / "out", tiny_trunk, config_from=tmp_path)


def test_no_tensor_of_a_graph_holds_all_logits(tiny_checkpoint: Path) -> None:
    config = Checkpoint.open(tiny_checkpoint).config
    graph = build_graph(config, "int8").graph
    products = [node for node in graph.node if node.name.startswith("MatMulIntegerToFloat")]

    assert [output.name for output in graph.output] == ["dense", "late", "sparse", "words", "own"]
    assert len(products) == 3 * config.layers + 3 + -(-config.sparse_terms // 512)


def test_the_shipped_model_fits_the_package_and_its_card() -> None:
    folder = MiniEncoder().checkpoint.folder
    size = sum(path.stat().st_size for path in folder.iterdir())

    assert size < 45_000_000
    assert (folder / "README.md").read_text() == (files("tercet.models") / "card.md").read_text()
