"""Text files in, numbered lines out: what every reader here says where a line is wrong."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tercet.errors import UnreadableFile


class Line(NamedTuple):
    """A line that is not blank, without its end. Numbers count from 1."""

    path: str
    number: int
    text: str

    @property
    def place(self) -> str:
        return f"{self.path}:{self.number}"

    def error(self, message: str) -> UnreadableFile:
        return UnreadableFile(f"{self.place}: {message}")


def numbered_lines(path: str | Path) -> Iterator[Line]:
    """The lines that are not blank, of a file in UTF-8, or gzipped where its name ends in .gz.

    Raises:
        UnreadableFile: no such file, no line in it, bytes that are not UTF-8.
    """
    path = Path(path)
    empty = True
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, data in enumerate(file, start=1):
                text = data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if text.strip():
                    empty = False
                    yield Line(str(path), number, text)
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            f"{path}:{number}: is not UTF-8 (byte {error.start} of the line); convert it, for example with: "
            f"iconv -f latin1 -t utf-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFile(f"{path}: is no whole gzip file: {error}") from error
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read: {error.strerror or error}") from error
    if empty:
        raise UnreadableFile(f"{path}: is empty")
