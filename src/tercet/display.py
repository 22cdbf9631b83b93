"""Hits and reports in, lines on a terminal out. What documents say is shown, never obeyed as markup or escapes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tercet.reading import Skip
from tercet.types import AddReport, Hit

SNIPPET_CHARACTERS = 240
NAMED_FAILURES = 10

#: Everything that moves a cursor or changes a colour, C1 controls included.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(value: object, style: str = "") -> Text:
    """Anything as text that a terminal shows and does not obey."""
    return Text(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", str(value)), style)


def snippet(text: str, length: int = SNIPPET_CHARACTERS) -> str:
    """The beginning of a text on one line, cut at a word."""
    line = " ".join(text[: 4 * length].split())
    if len(line) <= length:
        return line
    return line[: length + 1].rsplit(" ", 1)[0][:length] + " …"


def show_hits(
    console: Console,
    hits: Sequence[Hit],
    *,
    explain: bool = False,
    explained: Sequence[Sequence[RenderableType]] = (),
) -> None:
    """Each hit with rank, score, id, the beginning of its text, and why it is there.

    explain: with the stages and the shared terms
    explained: for each hit what is shown below it instead
    """
    if not hits:
        console.print(Text("nothing found", "yellow"))
    for rank, hit in enumerate(hits, start=1):
        console.print(Text.assemble((f"{rank}. ", "bold"), plain(hit.id, "bold cyan"), (f"  {hit.score:.4f}", "green")))
        above, body = _headings_and_body(hit)
        details: list[RenderableType] = [plain(above, "italic")] if above else []
        details += [plain(snippet(body)), plain(hit.reason, "dim")]
        if explained:
            details += explained[rank - 1]
        elif explain:
            details += [_stage_table(hit), _term_table(hit)]
        console.print(Padding(Group(*details), (0, 0, 1, 3), expand=False))


def _headings_and_body(hit: Hit) -> tuple[str, str]:
    """A passage's text begins with its headings, which read better on a line of their own."""
    headings = hit.metadata.get("headings")
    line, newline, body = hit.text.partition("\n")
    return (line, body) if headings and newline and body.strip() else ("", hit.text)


def _stage_table(hit: Hit) -> Table:
    table = Table("stage", box=None, header_style="bold")
    for name in ("rank", "score"):
        table.add_column(name, justify="right")
    for stage in hit.stages:
        table.add_row(stage.stage, str(stage.rank), f"{stage.score:.4f}")
    return table


def _term_table(hit: Hit) -> Table:
    table = Table("shared term", box=None, header_style="bold")
    for name in ("query", "document", "contribution"):
        table.add_column(name, justify="right")
    for match in hit.why:
        weights = (match.query_weight, match.document_weight, match.contribution)
        table.add_row(plain(match.term), *(f"{weight:.3f}" for weight in weights))
    return table


def show_report(console: Console, report: AddReport, skips: Sequence[Skip] = (), *, removed: int = 0) -> None:
    """What was indexed, what failed (by name), and what was passed over (by reason)."""
    console.print(plain(f"{report}, {removed:,} removed" if removed else report, "bold"))
    show_failures(
        console, "failed", [f"{failure.id or failure.position}: {failure.reason}" for failure in report.failed]
    )
    show_failures(console, "unreadable", [str(skip) for skip in skips if skip.is_problem])
    reasons = Counter(skip.reason for skip in skips if not skip.is_problem)
    if reasons:
        listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        console.print(plain(f"passed over: {listed}", "dim"))


def show_failures(console: Console, name: str, failures: Sequence[str]) -> None:
    """The first few by name, and how many more there are."""
    for failure in failures[:NAMED_FAILURES]:
        console.print(Text.assemble((f"{name}: ", "red"), plain(failure)))
    if (more := len(failures) - NAMED_FAILURES) > 0:
        console.print(Text(f"{name}: and {more:,} more", "red"))


def show_mapping(console: Console, values: Mapping[str, object]) -> None:
    """Names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    for name, value in values.items():
        is_number = isinstance(value, int) and not isinstance(value, bool)
        table.add_row(plain(name, "bold"), plain(f"{value:,}" if is_number else value))
    console.print(table)
