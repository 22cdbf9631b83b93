"""Explanations in, lines on a terminal out. What documents say is shown, never obeyed (see `tercet.display`)."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tercet.display import plain, snippet
from tercet.explaining.comparison import Comparison
from tercet.explaining.explanation import Explanation, answer_of, in_text
from tercet.explaining.inquiry import StagePart
from tercet.explaining.why_not import WhyNot

#: Of each list; the JSON and the page have all of it.
SHOWN = 12
#: Residuals below this are the order in which floating point numbers are added.
NOTICEABLE = 1e-6


def show_explanation(console: Console, explanation: Explanation, *, ask_model: bool = True) -> None:
    """Stages, terms, tokens and, where the model may be asked, origins and sentences."""
    console.print(_headline(explanation))
    details = Group(plain(snippet(explanation.document.text)), *explanation_tables(explanation, ask_model=ask_model))
    console.print(Padding(details, (0, 0, 1, 3), expand=False))


def explanation_tables(explanation: Explanation, *, ask_model: bool) -> list[RenderableType]:
    """What adds up to the score, without the document itself."""
    tables = [_stage_table(explanation), _term_table(explanation, ask_model=ask_model), _match_table(explanation)]
    return [*tables, _sentence_table(explanation)] if ask_model and explanation.sentences else [*tables]


def show_why_not(console: Console, why_not: WhyNot) -> None:
    """The gates, and then what the document scores in each stage."""
    explanation = why_not.explanation
    verdict = "is among the hits"
    if gate := why_not.fell_at:
        verdict = f"fell at the gate {gate.name!r}" + (f", {gate.missing:.4f} too little" if gate.missing else "")
    query = plain(repr(explanation.query), "italic")
    console.print(Text.assemble(plain(explanation.id, "bold cyan"), f"  {verdict} for ", query))
    table = Table("", "gate", "", box=None, header_style="bold")
    for name in ("score", "needed"):
        table.add_column(name, justify="right")
    for gate in why_not.gates:
        mark = Text("✓", "green") if gate.passed else Text("✗", "red")
        table.add_row(mark, gate.name, plain(gate.says), _number(gate.score), _number(gate.needed))
    console.print(Padding(Group(table, _stage_table(explanation)), (0, 0, 1, 3), expand=False))


def show_comparison(console: Console, comparison: Comparison) -> None:
    """What puts one document above the other: stages, then the terms and tokens that differ most."""
    console.print(plain(comparison.summary, "bold"))
    first, second = comparison.first.id, comparison.second.id
    stages = _table("stage gives", first, second, "difference")
    for stage in comparison.stages:
        stages.add_row(stage.stage, *map(_number, (stage.first, stage.second)), _signed(stage.difference))
    stages.add_row(
        "score", *map(_number, (comparison.first.score, comparison.second.score)), _signed(comparison.difference)
    )
    terms = _table("term", first, second, "difference")
    for term in comparison.terms[:SHOWN]:
        sides = (part.contribution if part else 0.0 for part in (term.first, term.second))
        terms.add_row(plain(term.term), *map(_number, sides), _signed(term.difference))
    matches = _table("query token", first, second, "difference")
    for match in comparison.matches[:SHOWN]:
        sides_of_match = (f"{side.document.text} {side.contribution:.3f}" for side in (match.first, match.second))
        matches.add_row(plain(match.query.text), *map(plain, sides_of_match), _signed(match.difference))
    console.print(Padding(Group(stages, terms, matches), (0, 0, 1, 3), expand=False))


def show(console: Console, thing: Explanation | WhyNot | Comparison, *, ask_model: bool = True) -> None:
    """Whichever it is."""
    match thing:
        case Explanation():
            show_explanation(console, thing, ask_model=ask_model)
        case WhyNot():
            show_why_not(console, thing)
        case Comparison():
            show_comparison(console, thing)


def as_text(thing: Explanation | WhyNot | Comparison) -> str:
    """The same as plain text, without asking the model."""
    stream = io.StringIO()
    show(Console(file=stream, width=110, color_system=None, highlight=False), thing, ask_model=False)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def _headline(explanation: Explanation) -> Text:
    place = "not ranked" if explanation.rank is None else f"rank {explanation.rank}"
    return Text.assemble(
        plain(explanation.id, "bold cyan"), (f"  {explanation.score:.4f}", "green"), f"  {place} for ",
        plain(repr(explanation.query), "italic"),
    )  # fmt: skip


def _stage_table(explanation: Explanation) -> Table:
    table = _table("stage", "rank", "score", "gives", "how")
    table.columns[-1].justify = "left"
    for part in explanation.stages:
        rank = "–" if part.rank is None else f"{part.rank} of {part.ranked}"
        score = f"({part.computed:.4f})" if part.score is None else f"{part.score:.4f}"
        table.add_row(part.stage, rank, score, f"{part.contribution:.4f}", plain(how(explanation, part), "dim"))
    table.add_row("score", "", "", Text(f"{explanation.score:.4f}", "green"), "")
    return table


def how(explanation: Explanation, part: StagePart) -> str:
    """In a few words how a stage's score becomes what it gives."""
    inquiry = explanation.inquiry
    if part.stage not in inquiry.joined:
        return "makes the pool" if part.stage == "fused" else "has no say in the final order"
    if part.rank is None:
        return "did not find it"
    if inquiry.takes_scores:
        return "is the score"
    if inquiry.plan.fusion == "rrf":
        return f"{part.weight:g} / ({inquiry.plan.rank_constant} + {part.rank})"
    if part.best == part.worst:
        return f"{part.weight:.3f} × 1: all are alike"
    return f"{part.weight:.3f} × ({part.score:.4f} − {part.worst:.4f}) / ({part.best:.4f} − {part.worst:.4f})"


def _term_table(explanation: Explanation, *, ask_model: bool) -> Table:
    table = _table("shared term", "query", "document", "product", "stands in")
    table.columns[-1].justify = "left"
    if ask_model:
        table.add_column("made by")
    for term in explanation.terms[:SHOWN]:
        numbers = (term.query_weight, term.document_weight, term.contribution)
        stands = {"": "both", "query": "the document", "document": "the query", "both": "neither"}[term.expansion]
        made = [_made_by(explanation, term.token_id)] if ask_model else []
        table.add_row(plain(term.term), *(f"{number:.3f}" for number in numbers), stands, *made)
    _end(table, explanation, "sparse", len(explanation.terms), [term.contribution for term in explanation.terms], 3)
    return table


def _made_by(explanation: Explanation, token_id: int) -> Text:
    origin = explanation.origins[token_id]
    query = in_text(explanation.query, explanation.inquiry.tokens.sparse, origin.query)
    document = in_text(explanation.document.text, explanation.tokens.sparse, origin.document)
    place = "" if origin.document is None else f" at {origin.document.start}:{origin.document.end}"
    return plain(f"{query} · {document}{place}", "dim")


def _match_table(explanation: Explanation) -> Table:
    table = _table("query token", "document token", "at", "similarity", "importance", "adds")
    table.columns[1].justify = "left"
    ordered = sorted(explanation.matches, key=lambda match: match.special)
    for match in ordered[: 2 * SHOWN]:
        style = "dim" if match.special else ""
        at = "–" if match.document.special else f"{match.document.start}:{match.document.end}"
        answer = answer_of(explanation, match)
        numbers = (f"{value:.3f}" for value in (match.similarity, match.importance, match.contribution))
        table.add_row(plain(match.query.text, style), plain(answer, style), at, *numbers)
    added = [match.contribution for match in ordered if match.special]
    if added:
        table.add_row(Text("of these from tokens that the encoder added", "dim"), "", "", "", "", f"{sum(added):.3f}")
    _end(table, explanation, "late", len(ordered), [match.contribution for match in ordered], 5, shown=2 * SHOWN)
    return table


def _end(
    table: Table,
    explanation: Explanation,
    stage: str,
    count: int,
    contributions: Sequence[float],
    column: int,
    *,
    shown: int = SHOWN,
) -> None:
    """The lines that make a list add up to the stage's score: what is not shown, and the residual."""

    def row(name: str, value: float) -> None:
        table.add_row(Text(name, "dim"), *[""] * (column - 1), f"{value:.4f}")

    if count > shown:
        row(f"and {count - shown} more", sum(contributions[shown:]))
    part = next((part for part in explanation.stages if part.stage == stage), None)
    if part is not None:
        if abs(part.residual) > NOTICEABLE:
            row("half precision", part.residual)
        row(f"= {stage}", part.computed + part.residual)


def _sentence_table(explanation: Explanation) -> Table:
    table = _table("nearest sentence, as evidence for dense", "cosine")
    for sentence in explanation.sentences[:3]:
        table.add_row(plain(snippet(sentence.text, 160)), f"{sentence.cosine:.3f}")
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column(plain(first))
    for name in numbers:
        table.add_column(plain(name), justify="right")
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _signed(value: float) -> Text:
    return Text(f"{value:+.4f}", "green" if value > 0 else "red" if value < 0 else "dim")
