"""A progress bar on standard error, for work that takes long: shown on a terminal, silent elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """One task with a count, a rate and the time left.

    total: None where nobody knows; the bar then only counts
    show: None means where standard error is a terminal
    """

    def __init__(self, task: str, *, total: int | None, show: bool | None) -> None:
        shown = sys.stderr.isatty() if show is None else show
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._bars = Bars(*columns, console=Console(stderr=True), disable=not shown)
        self._task = self._bars.add_task(task, total=total, note="")

    def advance(self, count: int, *, note: str = "") -> None:
        self._bars.update(self._task, advance=count, note=note)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()
