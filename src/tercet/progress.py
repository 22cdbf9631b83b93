"""A progress bar on standard error, for work that takes long: shown on a terminal, silent elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text


class Progress:
    """One task with a count, a rate and the time left.

    task: what is done, as "indexing"
    total: None where nobody knows; the bar then only counts
    show: None means where standard error is a terminal
    unit: what is counted
    """

    def __init__(self, task: str, *, total: int | None, show: bool | None, unit: str = "documents") -> None:
        shown = sys.stderr.isatty() if show is None else show
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            _Count(unit),
            _Rate(),
            TimeElapsedColumn(),
            *([] if total is None else [TextColumn("left"), TimeRemainingColumn()]),
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


class _Count(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        of_total = "" if task.total is None else f" of {task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{of_total} {self._unit}", "progress.download")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("–/s" if speed is None else f"{speed:,.0f}/s", "progress.data.speed")
