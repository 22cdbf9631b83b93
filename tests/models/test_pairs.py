import json
from pathlib import Path

from tercet.models.pairs import HEADED_TEXTS, PAIRS_PER_SOURCE, read_pairs

PASSAGE = (
    "This opens the text. The second sentence asks for the whole passage again. A third one closes it here. End of it."
)


def write_data(folder: Path) -> None:
    for kind, names in (("train", PAIRS_PER_SOURCE), ("text", HEADED_TEXTS)):
        (folder / kind).mkdir()
        for name in names:
            rows = [
                {
                    "query": f"{name} {n}",
                    "title": f"{name} {n}",
                    "positive": f"{name} {n} {PASSAGE}",
                    "text": f"{name} {n} {PASSAGE}",
                }
                for n in range(6)
            ]
            lines = [json.dumps(row) for row in rows] + [json.dumps({**rows[0], "query": "", "title": ""})]
            (folder / kind / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def test_every_source_gives_pairs_and_sentences_ask_for_their_passage(tmp_path: Path) -> None:
    write_data(tmp_path)
    pairs = read_pairs(tmp_path, seed=3)
    sentences = [pair for pair in pairs if pair.query.startswith(("The second", "A third"))]

    assert {pair.source for pair in pairs} == {*PAIRS_PER_SOURCE, *HEADED_TEXTS}
    assert all(pair.query for pair in pairs)
    assert sentences
    assert all(pair.query in pair.document for pair in sentences)
    assert pairs == read_pairs(tmp_path, seed=3) != read_pairs(tmp_path, seed=4)
