from pathlib import Path

import pytest

from tercet.errors import InvalidTrainingData
from tercet.training.texts import read_texts


def test_paragraphs_and_records_are_texts_in_order_of_name(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("A paragraph\n of two lines.\n\n\nAnother one.")
    (tmp_path / "a.jsonl").write_text('{"title": "Keys", "text": " Rotate them."}\n\n{"text": "No title", "id": 3}\n')
    (tmp_path / "ignored.csv").write_text("x")

    assert read_texts(tmp_path) == ["Keys. Rotate them.", "No title", "A paragraph of two lines.", "Another one."]
    assert read_texts([tmp_path / "ignored.csv"]) == ["x"]


def test_every_bad_line_is_named_with_file_and_number(tmp_path: Path) -> None:
    records, prose = tmp_path / "a.jsonl", tmp_path / "b.txt"
    records.write_text('{"text": "good"}\n{"text": " "}\n{"body": "x"}\n["x"]\n{"text": 3}\nprose\n')
    prose.write_bytes(b"good\ncaf\xe9\n")

    with pytest.raises(InvalidTrainingData) as caught:
        read_texts([records, prose])
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        f"{records}:2: its text is empty",
        f"{records}:3: has no text; its keys are body",
        f"{records}:4: is a list, expected an object with text",
        f"{records}:5: its text is a number, expected text",
        f"{records}:6: is not JSON (Expecting value at column 1)",
        f"{prose}:2: is not UTF-8 (invalid continuation byte at byte 3)",
    ]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(InvalidTrainingData, match=r"no text in .*empty\.txt"):
        read_texts(tmp_path / "empty.txt")
    with pytest.raises(InvalidTrainingData, match="there is no file"):
        read_texts(tmp_path / "none.txt")
