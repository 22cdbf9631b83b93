"""Files of data line by line: paths in, lines with their places out; every bad line is named before anything starts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tercet.errors import InvalidTrainingData

#: Bad lines that a message lists; the rest is counted.
SHOWN_PROBLEMS = 20


def files(paths: str | Path | Iterable[str | Path], *, endings: Sequence[str] = (".jsonl",)) -> list[Path]:
    """The files that are named, and in order of name those of a folder that have one of the endings.

    Raises:
        InvalidTrainingData: there is no such file, or none in a folder.
    """
    found: list[Path] = []
    for given in [paths] if isinstance(paths, str | Path) else paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix in endings)
            if not inside:
                raise InvalidTrainingData(f"the folder {path} holds no {' or '.join(endings)} file")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InvalidTrainingData(f"there is no file {path}")
    return found


def lines(path: Path, problems: list[str]) -> Iterator[tuple[str, str]]:
    """Each line with its place, "file:number", empty ones too; what is no UTF-8 is added to `problems`."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            place = f"{path}:{number}"
            try:
                yield place, line.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                problems.append(f"{place}: is not UTF-8 ({error.reason} at byte {error.start})")


def record(line: str, expected: str) -> dict[str, Any] | str:
    """The JSON object of a line, or what is wrong with it."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return f"is not JSON ({error.msg} at column {error.colno})"
    return value if isinstance(value, dict) else f"is {kind(value)}, expected an object with {expected}"


def wrong_text(values: dict[str, Any], key: str) -> str | None:
    """What is wrong with a text that a record must have."""
    if key not in values:
        return f"has no {key}; its keys are {', '.join(sorted(map(str, values))) or 'none'}"
    value = values[key]
    if not isinstance(value, str):
        return f"its {key} is {kind(value)}, expected text"
    return None if value.strip() else f"its {key} is empty"


def kind(value: object) -> str:
    names = {list: "a list", dict: "an object", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def refuse(problems: Sequence[str]) -> None:
    """Raises InvalidTrainingData with one problem below the other, where there are any."""
    if problems:
        shown = list(problems[:SHOWN_PROBLEMS])
        if more := len(problems) - len(shown):
            shown.append(f"and {more:,} more")
        raise InvalidTrainingData("these lines cannot be learnt from; nothing was trained:\n  " + "\n  ".join(shown))
