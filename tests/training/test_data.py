import json
from pathlib import Path

import pytest

from tercet.errors import InvalidTrainingData
from tercet.training.data import (
    Example,
    batch_stream,
    epoch_batches,
    read_examples,
    split_held_out,
    write_examples,
)

GOOD = {
    "query": "rotate keys",
    "positive": "Rotate daily.",
    "negatives": ["A cat.", "A dog."],
    "scores": [9, 1, 2],
}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records))
    return path


def test_a_line_is_an_example_and_its_file_the_source(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.jsonl", {**GOOD, "from": "somewhere"}, "", {"query": " q ", "positive": "p"})

    assert read_examples(path) == [
        Example("rotate keys", "Rotate daily.", ("A cat.", "A dog."), (9.0, 1.0, 2.0), "keys"),
        Example("q", "p", source="keys"),
    ]
    assert read_examples(tmp_path) == read_examples([path])


BAD = {
    "its query is empty": {**GOOD, "query": "  "},
    "its positive is empty": {**GOOD, "positive": ""},
    "has no positive; its keys are document, query": {"query": "q", "document": "d"},
    "its query is a number, expected text": {**GOOD, "query": 3},
    "negative 2 is the positive itself; leave it out, and its score": {**GOOD, "negatives": ["x", GOOD["positive"]]},
    "negative 1 is empty; leave it out, and its score": {**GOOD, "negatives": ["", "x"]},
    "has 2 scores for 1 positive and 2 negatives; expected 3, the positive's first": {**GOOD, "scores": [1, 2]},
    "its scores are no list of finite numbers": {**GOOD, "scores": [1, 2, float("nan")]},
    "its negatives are no list of texts": {**GOOD, "negatives": "x"},
    'has "negative"; write "negatives": ["…"], a list': {"query": "q", "positive": "p", "negative": "n"},
    "is a list, expected an object with query and positive": ["q", "p"],
    "is not JSON (Expecting value at column 1)": "query,positive",
}


@pytest.mark.parametrize("problem", BAD)
def test_a_bad_line_is_named_with_file_and_number(tmp_path: Path, problem: str) -> None:
    path = write(tmp_path / "pairs.jsonl", GOOD, BAD[problem], GOOD)

    with pytest.raises(InvalidTrainingData) as caught:
        read_examples(path)
    assert f"{path}:2: {problem}" in str(caught.value)


def test_every_bad_line_of_every_file_is_named_at_once(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", *BAD.values())
    write(tmp_path / "b.jsonl", *BAD.values())

    with pytest.raises(InvalidTrainingData) as caught:
        read_examples(tmp_path)
    message = str(caught.value)
    assert "a.jsonl:12:" in message
    assert "b.jsonl:8:" in message
    assert message.endswith("and 4 more")


def test_what_a_plan_asks_for_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", GOOD, {"query": "q", "positive": "p", "negatives": ["n"]})

    with pytest.raises(InvalidTrainingData, match=r"2: has 1 negative, 2 are asked for"):
        read_examples(path, negatives=2)
    with pytest.raises(InvalidTrainingData, match=r"2: has no scores; label the file with a teacher"):
        read_examples(path, scores=True)


def test_bytes_that_are_no_text_a_missing_file_and_an_empty_one_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes(b'{"query": "caf\xe9"}\n')
    with pytest.raises(InvalidTrainingData, match=r"latin.jsonl:1: is not UTF-8"):
        read_examples(tmp_path / "latin.jsonl")
    with pytest.raises(InvalidTrainingData, match="there is no file"):
        read_examples(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InvalidTrainingData, match=r"no example in .*empty.jsonl"):
        read_examples(tmp_path / "empty.jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidTrainingData, match=r"holds no \.jsonl"):
        read_examples(tmp_path / "folder")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    examples = [Example("q é", "p", ("n",), (1.0, 0.5), "e"), Example("r", "s", source="e")]
    write_examples(tmp_path / "e.jsonl", examples)

    assert read_examples(tmp_path / "e.jsonl") == examples


def examples(count: int) -> list[Example]:
    return [Example(f"q{n}", f"p{n // 2}", source="ab"[n % 4 == 0]) for n in range(count)]


def test_held_out_queries_and_their_documents_are_not_trained_on() -> None:
    training, held_out = split_held_out(examples(100), 10, seed=0)

    assert len({example.query for example in held_out}) == 10
    assert not {example.query for example in training} & {example.query for example in held_out}
    assert not {example.positive for example in training} & {example.positive for example in held_out}
    assert (training, held_out) == split_held_out(examples(100), 10, seed=0)


def test_an_epoch_takes_each_example_at_most_once_and_half_of_the_batches_stay_in_a_source() -> None:
    given = examples(203)
    batches = epoch_batches(given, 10, epoch=0, seed=0)
    positions = [position for batch in batches for position in batch]

    assert len(positions) == len(set(positions)) == 200
    one_source = [batch for batch in batches if len({given[position].source for position in batch}) == 1]
    assert 6 <= len(one_source) < len(batches)
    assert batches != epoch_batches(given, 10, epoch=1, seed=0) != epoch_batches(given, 10, epoch=1, seed=1)


def test_a_stream_goes_on_where_it_was_left() -> None:
    given = examples(50)
    whole = [batch for batch, _ in zip(batch_stream(given, 8, seed=3), range(20), strict=False)]

    for start in (0, 5, 6, 13):
        rest = zip(batch_stream(given, 8, seed=3, start=start), range(20 - start), strict=False)
        assert [batch for batch, _ in rest] == whole[start:]


def test_too_few_examples_for_a_batch_are_an_error() -> None:
    with pytest.raises(ValueError, match="a batch of 8 needs at least 8 examples, got 3; lower batch_size"):
        epoch_batches(examples(3), 8, epoch=0, seed=0)
