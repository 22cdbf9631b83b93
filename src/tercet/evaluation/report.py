"""An evaluation in, a report out: Markdown for people, JSON for programs, a plot for both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tercet.errors import MissingExtra
from tercet.evaluation.experiment import Evaluation, System
from tercet.evaluation.runs import write_run
from tercet.evaluation.significance import Difference
from tercet.evaluation.sparsity import SparsityReport, Spread

#: Below this, a difference is marked as unlikely by chance.
SIGNIFICANT = 0.05

PLOTS = (".svg", ".png", ".pdf")


def to_dict(evaluation: Evaluation, *, by_query: bool = False) -> dict[str, Any]:
    """Everything but the rankings, as JSON values.

    by_query: the figures of each query, too
    """
    return {
        "collection": evaluation.collection,
        "queries": evaluation.queries,
        "documents": evaluation.documents,
        "encoder": evaluation.encoder,
        "engine": evaluation.engine,
        "plan": asdict(evaluation.plan),
        "measures": list(evaluation.measures),
        "baseline": evaluation.baseline,
        "systems": {
            system.name: {
                "scores": dict(system.scores.mean),
                "difference": None if system.difference is None else asdict(system.difference),
                "latency_milliseconds": None if system.latency is None else asdict(system.latency),
                "bytes_per_passage": system.bytes_per_passage,
                **(
                    {"by_query": {measure: dict(values) for measure, values in system.scores.by_query.items()}}
                    if by_query
                    else {}
                ),
            }
            for system in evaluation.systems
        },
        "ceiling": {
            "pool": evaluation.ceiling.pool,
            "recall": evaluation.ceiling.recall,
            "scores": dict(evaluation.ceiling.scores.mean),
        },
        "sparsity": None if evaluation.sparsity is None else asdict(evaluation.sparsity),
        "notes": list(evaluation.notes),
    }


def to_json(evaluation: Evaluation, *, by_query: bool = False) -> str:
    return json.dumps(to_dict(evaluation, by_query=by_query), indent=1, ensure_ascii=False) + "\n"


def to_markdown(evaluation: Evaluation) -> str:
    """The table, the pool's ceiling, the sparsity report and the notes."""
    ceiling, main = evaluation.ceiling, evaluation.measures[0]
    parts = [
        f"# {evaluation.collection}",
        f"{evaluation.queries:,} judged queries, {evaluation.documents:,} documents, {evaluation.encoder}"
        f"{', ' + evaluation.engine if evaluation.engine else ''}.",
        table(*rows(evaluation)),
        f"Differences are in {main}, to {evaluation.baseline}; p by a paired {_test(evaluation)}, two-sided, not "
        f"corrected for the number of rows; **bold** where p < {SIGNIFICANT}. Latency is one query's, asked alone. "
        f"Bytes are those of the vectors that a row needs.",
        f"The pool of {ceiling.pool} candidates holds {ceiling.recall:.1%} of the relevant documents; in the best "
        f"order it would reach {main} {ceiling.scores.mean[main]:.4f}.",
    ]
    if evaluation.sparsity is not None:
        parts += ["## Vectors", *sparsity_markdown(evaluation.sparsity)]
    if evaluation.notes:
        parts += ["## Notes", "\n".join(f"* {note}" for note in evaluation.notes)]
    return "\n\n".join(parts) + "\n"


def save_evaluation(evaluation: Evaluation, path: str | Path) -> None:
    """Write the report, .md or .json (with the figures of each query), or the plot, .svg, .png or .pdf.

    Raises:
        ValueError: another ending.
    """
    path = Path(path)
    check_endings([path])
    if path.suffix == ".md":
        path.write_text(to_markdown(evaluation), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(to_json(evaluation, by_query=True), encoding="utf-8")
    else:
        save_plot(evaluation, path)


def check_endings(paths: Iterable[str | Path]) -> None:
    """Raises ValueError for a path that no report can be written to: before an hour's work, not after it."""
    for path in map(Path, paths):
        if path.suffix not in (".md", ".json", *PLOTS):
            raise ValueError(f"a report is written as .md or .json, a plot as {', '.join(PLOTS)}; got {path.name!r}")
        if not path.parent.is_dir():
            raise ValueError(f"there is no folder {path.parent} to write {path.name} to; make it first")


def save_runs(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Write each system's TREC run, named after it, into a folder that is made where it is missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for system in evaluation.systems:
        name = re.sub(r"[^\w.+]+", "-", system.name).strip("-")
        paths.append(folder / f"{name}.trec")
        write_run(system.run, paths[-1], tag=name)
    return paths


def rows(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the table, for Markdown or a terminal."""
    timed = any(system.latency for system in evaluation.systems)
    sized = any(system.bytes_per_passage for system in evaluation.systems)
    header = ["", *evaluation.measures, f"± {evaluation.baseline}", "p"]
    header += ["p50 ms", "p95 ms"] * timed + ["bytes a passage"] * sized
    return header, [_row(system, evaluation.measures, timed, sized) for system in evaluation.systems]


def _row(system: System, measures: Sequence[str], timed: bool, sized: bool) -> list[str]:
    latency, difference = system.latency, system.difference
    cells = [system.name, *(f"{system.scores.mean[measure]:.4f}" for measure in measures)]
    cells += ["", ""] if difference is None else [_signed(difference), p_value(difference.p_value)]
    if timed:
        cells += ["", ""] if latency is None else [f"{latency.p50:.1f}", f"{latency.p95:.1f}"]
    if sized:
        cells.append("" if system.bytes_per_passage is None else f"{system.bytes_per_passage:,.0f}")
    return cells


def _signed(difference: Difference) -> str:
    shown = f"{difference.mean:+.4f}"
    return f"**{shown}**" if difference.p_value < SIGNIFICANT else shown


def p_value(p: float) -> str:
    return "< .0001" if p < 1e-4 else f"{p:.4f}"


def _test(evaluation: Evaluation) -> str:
    return next((system.difference.test for system in evaluation.systems if system.difference), "t-test")


def sparsity_markdown(report: SparsityReport) -> list[str]:
    """The sparsity report as paragraphs of Markdown."""

    def spread(name: str, counts: Spread) -> list[str]:
        return [name, f"{counts.mean:.1f}", f"{counts.p50:.0f}", f"{counts.p95:.0f}", f"{counts.most:,}"]

    longest = [
        [_cell(posting.term), f"{posting.documents:,}", f"{posting.share:.1%}"] for posting in report.longest_postings
    ]
    return [
        table(
            ["", "mean", "p50", "p95", "most"],
            [
                spread("terms a document", report.document_terms),
                spread("terms a query", report.query_terms),
                spread("token vectors a document", report.document_tokens),
            ],
        ),
        table(["", ""], _facts(report)),
        table(["longest posting lists", "documents", "share"], longest),
    ]


def sparsity_lines(report: SparsityReport) -> list[str]:
    """The sparsity report on a few lines."""
    facts = ", ".join(f"{name} {value}" for name, value in _facts(report))
    longest = ", ".join(f"{posting.term} {posting.share:.0%}" for posting in report.longest_postings)
    return [
        f"terms a document {report.document_terms.mean:.1f}, a query {report.query_terms.mean:.1f}, token vectors a "
        f"document {report.document_tokens.mean:.1f}; {facts}",
        f"longest posting lists: {longest}",
    ]


def _facts(report: SparsityReport) -> list[list[str]]:
    def share(value: float | None) -> str:
        return "unknown: the encoder does not tell its tokens" if value is None else f"{value:.1%}"

    facts = [
        ["non-zero weights of a document", f"{report.non_zero:.3%} of {report.vocabulary_size:,}"],
        ["vocabulary terms in use", f"{report.used_terms:,}"],
        ["FLOPS (Paria et al., 2020)", f"{report.flops:.2f}"],
        ["expansions among a document's terms", share(report.document_expansion)],
        ["… of their weight", share(report.document_expansion_weight)],
        ["expansions among a query's terms", share(report.query_expansion)],
        ["bytes a passage, dense", f"{report.dense_bytes:,.0f}"],
        ["bytes a passage, sparse", f"{report.sparse_bytes:,.0f}"],
        ["bytes a passage, late", f"{report.late_bytes:,.0f}"],
    ]
    if report.disk_bytes is not None:
        facts.append(["bytes a passage on disk, all told", f"{report.disk_bytes:,.0f}"])
    return facts


def table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(term: str) -> str:
    """A vocabulary term that ends no cell and is no markup."""
    return f"`{term}`".replace("|", "\\|") if "`" not in term else term


def save_plot(evaluation: Evaluation, path: str | Path) -> None:
    """Draw the first measure of each system, with its difference to the baseline query by query.

    path: .svg, .png or .pdf; the same evaluation gives the same SVG

    Raises:
        ValueError: another ending.
        MissingExtra: matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix not in PLOTS:
        raise ValueError(f"a plot is written as {', '.join(PLOTS)}, got {path.name!r}")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("a plot", "evaluation") from error
    main, systems = evaluation.measures[0], evaluation.systems
    final = systems[-1].name if "final" not in {system.name for system in systems} else "final"
    with matplotlib.rc_context({"svg.hashsalt": "tercet", "svg.fonttype": "none"}):
        # A figure of its own, not pyplot's: no window, nothing global.
        figure = Figure(figsize=(11, 1.2 + 0.42 * max(6, len(systems))), layout="constrained")
        means, queries = figure.subplots(1, 2, width_ratios=(3, 2))
        names = [system.name for system in systems][::-1]
        values = [system.scores.mean[main] for system in systems][::-1]
        colours = ["#4a6fa5" if name == final else "#9aa5b1" for name in names]
        bars = means.barh(names, values, color=colours)
        means.bar_label(bars, [f"{value:.3f}" for value in values], padding=3)
        means.axvline(evaluation.ceiling.scores.mean[main], color="#b5651d", linestyle=":", label="pool, best order")
        means.set(xlim=(0, 1.08), xlabel=main, title=f"{evaluation.collection}, {evaluation.queries:,} queries")
        means.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)
        baseline = evaluation[evaluation.baseline].scores.by_query[main]
        ours = evaluation[final].scores.by_query[main]
        gains = sorted((ours[query] - baseline[query] for query in ours), reverse=True)
        queries.bar(range(len(gains)), gains, width=1.0, color=["#3b8a5a" if gain > 0 else "#b23b3b" for gain in gains])
        queries.axhline(0, color="black", linewidth=0.8)
        queries.set(
            ylim=(-1.05, 1.05), xlabel="queries, best gain first", title=f"{final} minus {evaluation.baseline}, {main}"
        )
        for axes in (means, queries):
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
