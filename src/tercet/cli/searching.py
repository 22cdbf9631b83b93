"""Files into an index, queries at it, and a demonstration of both."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tercet.cli.options import Ask, Into, Json, NewPlace, Place, console, open_index, print_json

if TYPE_CHECKING:
    from tercet.ingest import IngestReport
    from tercet.types import Hit


def index(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files and folders; - reads JSONL from standard input.")
    ],
    *,
    at: NewPlace,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Name files by their path below this folder, all others by their absolute path. "
            "It is the folder that --into stands in; with --url there is none."
        ),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="The CSV column or JSONL key that holds the text, where it is not found by name.")
    ] = None,
    max_words: Annotated[int | None, typer.Option(help="Longest passage that prose is cut into.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first file or line that cannot be read.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Index files: .md .txt .rst .html are cut into passages, .jsonl and .csv hold a document a line.

    What is stored unchanged is not indexed again, so an interrupted run is finished by running it again. Passages that
    a file no longer has are removed; those of a deleted file stay (tercet delete --where source=docs/old.md).

    [bold]tercet index docs/[/]

    [bold]tercet index corpus.jsonl --into ./corpus[/]

    [bold]zcat corpus.jsonl.gz | tercet index - --url http://localhost:6333[/]
    """
    from tercet.ingest import index_paths
    from tercet.reading.passages import DEFAULT_MAX_WORDS

    with at.open() as opened:
        ingested = index_paths(
            opened,
            paths,
            root=root,
            max_words=DEFAULT_MAX_WORDS if max_words is None else max_words,
            text_column=text_column,
            on_error="raise" if strict else "skip",
        )
    report = ingested.indexed
    if as_json:
        print_json(_report_to_dict(ingested))
    else:
        from tercet.display import show_report

        show_report(console(), report, ingested.skips, removed=len(ingested.removed))
    if not (report.added or report.updated or report.skipped or ingested.removed):
        failed = report.failed or any(skip.is_problem for skip in ingested.skips)
        verb = "could be indexed of what was found" if failed else "was found"
        raise ValueError(f"no document {verb} in {', '.join(paths)}")


def search(
    query: Annotated[str, typer.Argument(help="A question or keywords.")],
    *,
    at: Place,
    ask: Ask,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the parts of each score: stages, shared terms, matched tokens.")
    ] = False,
    as_json: Json = False,
) -> None:
    r"""Search, and see why each hit is there.

    [bold]tercet search 'how do I rotate keys?'[/]

    [bold]tercet search 'key rotation' -k 3 --explain --where lang=en[/]

    [bold]tercet search 'key rotation' --json | jq '.hits\[].id'[/]
    """
    plan, condition = ask.plan, ask.condition
    with at.open() as opened:
        hits = opened.search(query, where=condition, plan=plan)
        explanations = []
        if explain:
            explanations = opened.explain_many(query, [hit.id for hit in hits], where=condition, plan=plan)
    if as_json:
        described = [_hit_to_dict(hit) for hit in hits]
        for each, explanation in zip(described, explanations, strict=False):
            each["explanation"] = explanation.to_dict(ask_model=False)
        print_json({"query": query, "hits": described})
    else:
        from tercet.display import show_hits
        from tercet.explaining.terminal import explanation_tables

        tables = [explanation_tables(explanation, ask_model=False) for explanation in explanations]
        show_hits(console(), hits, explained=tables)


def demo(
    context: typer.Context,
    into: Into = Path("tercet-demo"),
    modules: Annotated[
        list[str] | None, typer.Option(help="Only this module, as json or urllib.request; repeat it for several.")
    ] = None,
) -> None:
    """Index the docstrings of Python's standard library and ask five questions: offline, in a few minutes."""
    from tercet.demo import run_demo

    with open_index(context, into, None, "tercet", create=True) as opened:
        run_demo(opened, console(), modules=modules)


def _report_to_dict(ingested: IngestReport) -> dict[str, Any]:
    report, skips = ingested.indexed, ingested.skips
    return {
        "added": len(report.added),
        "updated": len(report.updated),
        "unchanged": len(report.skipped),
        "removed": len(ingested.removed),
        "truncated": len(report.truncated),
        "failed": [asdict(failure) for failure in report.failed],
        "unreadable": [{"source": skip.source, "reason": skip.reason} for skip in skips if skip.is_problem],
        "passed_over": [{"source": skip.source, "reason": skip.reason} for skip in skips if not skip.is_problem],
    }


def _hit_to_dict(hit: Hit) -> dict[str, Any]:
    return {
        "id": hit.id,
        "score": hit.score,
        "text": hit.text,
        "metadata": dict(hit.metadata),
        "stages": [asdict(stage) for stage in hit.stages],
        "why": [{**asdict(match), "contribution": match.contribution} for match in hit.why],
    }
