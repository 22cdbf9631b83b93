"""Evaluations and comparisons in, lines on a terminal out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tercet.display import plain, snippet
from tercet.evaluation.comparison import Comparison, QueryChange
from tercet.evaluation.experiment import Evaluation
from tercet.evaluation.report import p_value, rows, sparsity_lines

_NOTES = 10


def show_evaluation(console: Console, evaluation: Evaluation) -> None:
    """The table, the pool's ceiling, the vectors, and the first notes."""
    console.print(
        plain(f"{evaluation.collection}: {evaluation.queries:,} judged queries, {evaluation.documents:,} documents")
    )
    header, cells = rows(evaluation)
    # In two tables, for a terminal of 80 columns: the figures, then what they cost and how sure they are.
    figures = 1 + len(evaluation.measures)
    console.print(_table(header[:figures], [row[:figures] for row in cells]))
    console.print()
    console.print(_table(["", *header[figures:]], [[row[0], *row[figures:]] for row in cells]))
    ceiling, main = evaluation.ceiling, evaluation.measures[0]
    console.print(
        plain(
            f"the pool of {ceiling.pool} holds {ceiling.recall:.1%} of the relevant documents; in the best order it "
            f"would reach {main} {ceiling.scores.mean[main]:.4f}",
            "dim",
        )
    )
    if evaluation.sparsity is not None:
        for line in sparsity_lines(evaluation.sparsity):
            console.print(plain(line, "dim"))
    for note in evaluation.notes[:_NOTES]:
        console.print(plain(f"note: {note}", "yellow"))
    if (more := len(evaluation.notes) - _NOTES) > 0:
        console.print(plain(f"note: and {more:,} more", "yellow"))


def _table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for position, name in enumerate(header):
        grid.add_column(plain(name), justify="left" if position == 0 else "right", no_wrap=True)
    for row in cells:
        # What Markdown makes bold, a difference that is unlikely by chance, is bold here.
        grid.add_row(*(plain(cell.strip("*"), "bold" if cell.startswith("**") else "") for cell in row))
    return grid


def show_comparison(console: Console, comparison: Comparison[Any]) -> None:
    """Both means, then the queries that won and lost most, each with what moved and why."""
    measure, difference = comparison.measure, comparison.difference
    line = f"{measure} over {comparison.queries:,} queries: {comparison.mean_a:.4f} → {comparison.mean_b:.4f}"
    if difference is not None:
        line += (
            f", {difference.mean:+.4f} (95 % {difference.low:+.4f} to {difference.high:+.4f}), "
            f"p {p_value(difference.p_value)}, {difference.wins:,} won, {difference.losses:,} lost"
        )
    console.print(plain(line, "bold"))
    if comparison.unanswered:
        console.print(
            plain(f"{comparison.unanswered:,} judged queries are not answered by both runs and count 0", "yellow")
        )
    for title, changes in (("won most", comparison.won), ("lost most", comparison.lost)):
        if changes:
            console.rule(Text(title, "bold"), align="left")
        for change in changes:
            _show_change(console, change)


def _show_change(console: Console, change: QueryChange[Any]) -> None:
    figures = f"{change.a:.4f} → {change.b:.4f}"
    console.print(
        Text.assemble((f"{change.difference:+.4f}  ", "bold"), plain(change.query, "cyan"), plain(f"  {figures}"))
    )
    if change.text:
        console.print(Padding(plain(snippet(change.text)), (0, 0, 0, 3)))
    for moved in change.moved[:3]:
        console.print(
            Padding(plain(f"{moved.id} (grade {moved.grade}): {_rank(moved.rank_a)} → {_rank(moved.rank_b)}"), (0, 3))
        )
    if change.explanation is not None:
        console.print(Padding(plain(change.explanation, "dim"), (0, 0, 0, 3)))


def _rank(rank: int | None) -> str:
    return "not found" if rank is None else f"#{rank}"
