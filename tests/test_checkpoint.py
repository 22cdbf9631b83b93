import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tercet.checkpoint import Checkpoint, ModelConfig, dequantize_rows, quantize_rows
from tercet.errors import CheckpointError

MATRICES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.floats(-1000, 1000, width=32, allow_subnormal=False),
)


@given(MATRICES)
def test_two_neighbours_never_overflow_sixteen_bits(matrix: np.ndarray) -> None:
    integers, _ = quantize_rows(matrix)
    most = np.abs(integers.astype(int))
    pairs = most[:, 0::2] + np.pad(most[:, 1::2], ((0, 0), (0, matrix.shape[1] % 2)))

    assert 255 * pairs.max() <= 2**15 - 1


@given(MATRICES)
def test_rounding_is_off_by_half_a_step_at_most(matrix: np.ndarray) -> None:
    integers, scales = quantize_rows(matrix)

    assert (np.abs(dequantize_rows(integers, scales) - matrix) <= 0.5001 * scales[:, None]).all()


def test_a_config_survives_its_json(tiny_checkpoint: Path) -> None:
    config = Checkpoint.open(tiny_checkpoint).config

    assert ModelConfig.from_json(config.to_json(), Path("tercet.json")) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("hidden"), "missing or unknown entries: hidden"),
        (lambda values: values.update(colour="red"), "missing or unknown entries: colour"),
        (lambda values: values.update(format=7), "format 7"),
    ],
)
def test_a_config_of_another_shape_names_the_entry(tiny_checkpoint: Path, change: object, message: str) -> None:
    values = json.loads(Checkpoint.open(tiny_checkpoint).config.to_json())
    change(values)  # type: ignore[operator]

    with pytest.raises(CheckpointError, match=message):
        ModelConfig.from_json(json.dumps(values), Path("tercet.json"))


def test_what_is_no_json_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"tercet\.json is not JSON"):
        ModelConfig.from_json("{", Path("tercet.json"))


@pytest.mark.parametrize("entry", ["weights_hash", "tokenizer_hash", "query_prompt", "late_dim", "skiplist"])
def test_whatever_shapes_vectors_shapes_the_fingerprint(tiny_checkpoint: Path, entry: str) -> None:
    config = Checkpoint.open(tiny_checkpoint).config
    values = json.loads(config.to_json())
    values[entry] = [1] if entry == "skiplist" else 3 if entry == "late_dim" else "other"
    other = ModelConfig.from_json(json.dumps(values), Path("tercet.json"))

    assert other.fingerprint("int8") != config.fingerprint("int8") != config.fingerprint("f32")


def test_the_name_of_a_model_does_not_shape_its_vectors(tiny_checkpoint: Path) -> None:
    config = Checkpoint.open(tiny_checkpoint).config
    renamed = ModelConfig.from_json(config.to_json().replace('"tiny"', '"small"'), Path("tercet.json"))

    assert renamed.fingerprint("int8") == config.fingerprint("int8")
