"""The command line: words in, calls of the library out. Nothing is decided here that the library does not decide."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

import tercet
from tercet.cli_train import app as train_app
from tercet.errors import StoreError, TercetError

# Only what every command needs is imported here: `tercet --help` should not wait for an engine and a model.
if TYPE_CHECKING:
    from tercet.index import HybridIndex
    from tercet.ingest import IngestReport
    from tercet.types import Hit


class _Commands(typer.core.TyperGroup):
    """Turns errors that a user can answer into one line on standard error and exit code 1."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (the base class is private to typer)
        try:
            return super().invoke(ctx)
        except (TercetError, ValueError) as error:
            from tercet.display import plain

            line = Text.assemble(("error: ", "bold red"), plain(" ".join(str(error).split()), "red"))
            Console(stderr=True).print(line, soft_wrap=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Hybrid search over your documents: by meaning, by words and token by token, in one pass of one model.\n\n"
        "[bold]tercet index[/] docs/ notes.jsonl · [bold]tercet search[/] 'how do I rotate keys?' · "
        "[bold]tercet demo[/]"
    ),
)

app.add_typer(train_app, name="train")

DEFAULT_INDEX = Path("kb")

Into = Annotated[Path, typer.Option("--into", help="The index's directory; made where it is missing.")]
In = Annotated[Path, typer.Option("--in", help="The index's directory.")]
Url = Annotated[
    str | None,
    typer.Option(
        help="A Qdrant server instead of a directory, as http://localhost:6333. "
        "Its API key is read from the environment variable QDRANT_API_KEY."
    ),
]
Collection = Annotated[str, typer.Option(help="The collection on that server.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE|JSON",
        help="Only documents whose metadata match: lang=en, or year=2024 (as number or text), or "
        '\'{"year": {"gte": 2024}, "lang": ["en", "de"]}\'. Given several times, all must match.',
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"tercet {tercet.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def index(
    context: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files and folders; - reads JSONL from standard input.")
    ],
    into: Into = DEFAULT_INDEX,
    url: Url = None,
    collection: Collection = "tercet",
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

    with _open(context, into, url, collection, create=True) as opened:
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
        _print_json(_report_to_dict(ingested))
    else:
        from tercet.display import show_report

        show_report(_console(), report, ingested.skips, removed=len(ingested.removed))
    if not (report.added or report.updated or report.skipped or ingested.removed):
        failed = report.failed or any(skip.is_problem for skip in ingested.skips)
        verb = "could be indexed of what was found" if failed else "was found"
        raise ValueError(f"no document {verb} in {', '.join(paths)}")


@app.command()
def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="A question or keywords.")],
    place: In = DEFAULT_INDEX,
    url: Url = None,
    collection: Collection = "tercet",
    k: Annotated[int, typer.Option("-k", help="Hits to show.")] = 5,
    where: Where = None,
    mode: Annotated[
        Literal["fused", "cascade"],
        typer.Option(help="fused orders by all three rankings, cascade by late interaction alone."),
    ] = "fused",
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
    from tercet.plan import SearchPlan

    plan = replace(SearchPlan.for_k(k), mode=mode)
    condition = _where(where)
    with _open(context, place, url, collection, create=False) as opened:
        hits = opened.search(query, where=condition, plan=plan)
        explanations = []
        if explain:
            explanations = opened.explain_many(query, [hit.id for hit in hits], where=condition, plan=plan)
    if as_json:
        described = [_hit_to_dict(hit) for hit in hits]
        for each, explanation in zip(described, explanations, strict=False):
            each["explanation"] = explanation.to_dict(ask_model=False)
        _print_json({"query": query, "hits": described})
    else:
        from tercet.display import show_hits
        from tercet.explaining.terminal import explanation_tables

        tables = [explanation_tables(explanation, ask_model=False) for explanation in explanations]
        show_hits(_console(), hits, explained=tables)


@app.command()
def explain(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="A question or keywords.")],
    document_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Of a document, as search shows it; the best hit without it.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="ID", help="Compare with this document: what puts one above the other.")
    ] = None,
    place: In = DEFAULT_INDEX,
    url: Url = None,
    collection: Collection = "tercet",
    k: Annotated[int, typer.Option("-k", help="Hits that a search would show.")] = 5,
    where: Where = None,
    mode: Annotated[
        Literal["fused", "cascade"],
        typer.Option(help="fused orders by all three rankings, cascade by late interaction alone."),
    ] = "fused",
    html: Annotated[
        Path | None, typer.Option(help="Write a page for a browser to this file, which loads nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show why a document has its score, or at which gate it fell where it is no hit.

    The parts add up: stages to the final score, shared terms to the sparse score, matched tokens to the late one.

    [bold]tercet explain 'key rotation'[/]

    [bold]tercet explain 'key rotation' docs/keys.md#rotation/1 --html why.html[/]

    [bold]tercet explain 'key rotation' docs/keys.md#rotation/1 --against docs/vault.md#intro/1[/]
    """
    from tercet.plan import SearchPlan

    if html and (against or as_json):
        raise typer.BadParameter("--html is for one explanation, without --against and --json")
    condition = _where(where)
    plan = replace(SearchPlan.for_k(k), mode=mode)
    with _open(context, place, url, collection, create=False) as opened:
        if document_id is None:
            hits = opened.search(query, where=condition, plan=plan)
            if not hits:
                raise ValueError("nothing was found; name a document to see where it fell out")
            document_id = hits[0].id
        if against is not None:
            shown: Any = opened.compare(query, document_id, against, where=condition, plan=plan)
        else:
            shown = opened.why_not(query, document_id, where=condition, plan=plan)
            shown = shown.explanation if shown.found else shown
    if html is not None:
        explanation = getattr(shown, "explanation", shown)
        html.write_text(explanation.to_html(), encoding="utf-8")
        typer.echo(f"wrote {html}", err=True)
    elif as_json:
        _print_json(shown.to_dict())
    else:
        from tercet.explaining.terminal import show

        show(_console(), shown)


@app.command()
def info(
    context: typer.Context,
    place: In = DEFAULT_INDEX,
    url: Url = None,
    collection: Collection = "tercet",
    as_json: Json = False,
) -> None:
    """Show what an index holds: model, engine, place, sizes."""
    with _open(context, place, url, collection, create=False) as opened:
        description = opened.info()
    if as_json:
        _print_json(dict(description))
    else:
        from tercet.display import show_mapping

        show_mapping(_console(), description)


@app.command()
def delete(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids, as search shows them.")] = None,
    where: Where = None,
    place: In = DEFAULT_INDEX,
    url: Url = None,
    collection: Collection = "tercet",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete documents by id or by metadata, after asking.

    [bold]tercet delete docs/keys.md#rotation/1[/]

    [bold]tercet delete --where source=docs/old.md --yes[/]
    """
    if bool(ids) == bool(where):
        raise typer.BadParameter("name the documents either by id or by --where")
    if as_json and not yes:
        raise typer.BadParameter("--json asks no question; confirm with --yes")
    condition = _where(where)
    with _open(context, place, url, collection, create=False) as opened:
        count = len(opened.get(ids)) if ids else opened.count(condition)
        if count and not yes:
            typer.confirm(f"Delete {count:,} {'document' if count == 1 else 'documents'}?", abort=True, err=True)
        deleted = 0
        if count:
            deleted = opened.delete(ids) if ids else opened.delete(where=condition)
    if as_json:
        _print_json({"deleted": deleted})
    else:
        typer.echo(f"{deleted:,} deleted")


@app.command()
def compact(
    context: typer.Context, place: In = DEFAULT_INDEX, url: Url = None, collection: Collection = "tercet"
) -> None:
    """Reclaim the space of replaced and deleted documents; takes seconds to minutes."""
    with _open(context, place, url, collection, create=False) as opened:
        opened.compact()
    typer.echo("compacted")


@app.command()
def repair(
    place: Annotated[Path, typer.Argument(metavar="PATH", help="The index's directory.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make an index open again that was damaged: copy what can be read of it, and keep the damaged part beside it.

    Documents that were written shortly before the damage, and not flushed, may be lost: index the same files again, and
    those that are missing are added. It takes as long as writing all documents once, and meanwhile up to three times
    the disk. An index that opens is left as it is.
    """
    from tercet.store.edge import EdgeStore

    if not yes:
        typer.echo(
            f"What can be read of {place} is copied; documents that were not flushed before the damage may be lost.",
            err=True,
        )
        typer.confirm("Repair it?", abort=True, err=True)
    aside = EdgeStore.repair(place)
    if aside is None:
        typer.echo(f"nothing to repair: {place} opens")
    else:
        typer.echo(
            f"repaired; the damaged part lies at {aside}, delete it when nothing is missing. "
            f"To add what was not flushed: tercet index PATH --into {place}"
        )


@app.command()
def demo(
    context: typer.Context,
    into: Into = Path("tercet-demo"),
    modules: Annotated[
        list[str] | None, typer.Option(help="Only this module, as json or urllib.request; repeat it for several.")
    ] = None,
) -> None:
    """Index the docstrings of Python's standard library and ask five questions: offline, in a few minutes."""
    from tercet.demo import run_demo

    with _open(context, into, None, "tercet", create=True) as opened:
        run_demo(opened, _console(), modules=modules)


@app.command()
def evaluate(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="A BEIR folder: corpus.jsonl, queries.jsonl, qrels.tsv (or qrels/)."),
    ] = None,
    place: Annotated[
        Path | None,
        typer.Option("--in", help="An index that holds the documents; without one they are indexed."),
    ] = None,
    url: Url = None,
    collection: Collection = "tercet",
    into: Annotated[
        Path | None, typer.Option(help="Index the folder's documents there and keep them; else they are thrown away.")
    ] = None,
    queries: Annotated[Path | None, typer.Option(help="Queries (JSONL or TSV), where there is no folder.")] = None,
    qrels: Annotated[Path | None, typer.Option(help="Judgements (TREC or BEIR), where there is no folder.")] = None,
    split: Annotated[str, typer.Option(help="The file in FOLDER/qrels/.")] = "test",
    measures: Annotated[
        list[str] | None, typer.Option("--measure", help="As nDCG@10; the first one is compared by. Repeat it.")
    ] = None,
    baseline: Annotated[str, typer.Option(help="The row that the others are compared with.")] = "BM25",
    test: Annotated[Literal["t-test", "bootstrap"], typer.Option(help="How differences are tested.")] = "t-test",
    runs: Annotated[
        list[Path] | None, typer.Option("--run", help="A TREC run of another system: a row of its name. Repeat it.")
    ] = None,
    fuse: Annotated[bool, typer.Option("--fuse", help="Also fuse BM25 and each --run with the final order.")] = False,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also the final order without each stage, and joined another way.")
    ] = False,
    drop_self_matches: Annotated[
        bool, typer.Option("--drop-self-matches", help="A document with the query's id is no answer (ArguAna, Quora).")
    ] = False,
    skip_errors: Annotated[
        bool, typer.Option("--skip-errors", help="Leave out lines that are wrong, and name them, instead of stopping.")
    ] = False,
    timed_queries: Annotated[int, typer.Option(min=0, help="Queries that are timed in each stage.")] = 50,
    write: Annotated[
        list[Path] | None, typer.Option(help="Write the report as .md or .json, a plot as .svg or .png. Repeat it.")
    ] = None,
    write_runs: Annotated[Path | None, typer.Option(help="Write each row's TREC run into this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Measure every stage against judgements: BM25, dense, sparse, fused, late interaction, the final order.

    [bold]tercet evaluate data/scifact[/]

    [bold]tercet evaluate data/scifact --into ./scifact --ablations --write report.md --write report.svg[/]

    [bold]tercet evaluate --in kb --queries questions.jsonl --qrels judged.tsv --run bm25.trec --fuse[/]
    """
    import tempfile

    from tercet.evaluation import evaluate as evaluate_index
    from tercet.evaluation import read_collection, read_judgements, read_run
    from tercet.evaluation.measures import DEFAULT_MEASURES
    from tercet.evaluation.report import check_endings, save_evaluation, save_runs, to_dict
    from tercet.evaluation.terminal import show_evaluation

    if (folder is None) == (queries is None and qrels is None) or (queries is None) != (qrels is None):
        raise typer.BadParameter("give either a FOLDER, or both --queries and --qrels")
    if (place is not None) + (url is not None) + (into is not None) > 1:
        raise typer.BadParameter("the index is one of --in, --url and --into")
    check_endings(write or ())
    on_error: Literal["skip", "raise"] = "skip" if skip_errors else "raise"
    if folder is not None:
        judged = read_collection(folder, split=split, on_error=on_error)
    else:
        assert queries is not None and qrels is not None  # noqa: S101, PT018 for mypy
        judged = read_judgements(queries, qrels, on_error=on_error)
    existing = place is not None or url is not None
    if not existing and not judged.documents:
        raise typer.BadParameter("there are no documents to index; name the index that holds them with --in or --url")
    others = {path.name.removesuffix(".gz").rsplit(".", 1)[0]: read_run(path) for path in runs or ()}
    with tempfile.TemporaryDirectory() as scratch:
        opened_at = place or into or Path(scratch) / "index"
        with _open(context, opened_at, url, collection, create=not existing) as opened:
            if not existing:
                opened.add(judged.documents)
            evaluation = evaluate_index(
                opened,
                judged,
                measures=measures or DEFAULT_MEASURES,
                baseline=baseline,
                runs=others,
                fuse_with=["BM25", *others] if fuse else (),
                ablations=ablations,
                drop_self_matches=drop_self_matches,
                timed_queries=timed_queries,
                test=test,
            )
    for path in write or ():
        save_evaluation(evaluation, path)
    if write_runs is not None:
        save_runs(evaluation, write_runs)
    if as_json:
        _print_json(to_dict(evaluation))
    else:
        show_evaluation(_console(), evaluation)


@app.command()
def compare(
    context: typer.Context,
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A TREC run: before.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="A TREC run: after.")],
    qrels: Annotated[Path, typer.Option(help="Judgements (TREC or BEIR), or a BEIR folder.")],
    queries: Annotated[Path | None, typer.Option(help="Queries (JSONL or TSV), to show their texts.")] = None,
    place: Annotated[Path | None, typer.Option("--in", help="An index that explains the first difference.")] = None,
    url: Url = None,
    collection: Collection = "tercet",
    measure: Annotated[str, typer.Option(help="What queries win or lose by.")] = "nDCG@10",
    most: Annotated[int, typer.Option("-n", min=0, help="Queries to show that won, and that lost.")] = 5,
    test: Annotated[Literal["t-test", "bootstrap"], typer.Option(help="How the difference is tested.")] = "t-test",
    as_json: Json = False,
) -> None:
    """Show the queries that won and lost most between two runs, and what moved.

    [bold]tercet compare before.trec after.trec --qrels data/scifact[/]

    [bold]tercet compare BM25.trec final.trec --qrels judged.tsv --queries questions.jsonl --in kb[/]
    """
    from contextlib import ExitStack

    from tercet.evaluation import read_collection, read_qrels, read_queries, read_run
    from tercet.evaluation.comparison import compare as compare_runs
    from tercet.evaluation.comparison import comparison_to_dict
    from tercet.evaluation.terminal import show_comparison

    if qrels.is_dir():
        judged = read_collection(qrels, on_error="skip")
        grades, texts = judged.qrels, dict(judged.queries)
    else:
        grades, texts = read_qrels(qrels), {}
    if queries is not None:
        texts = read_queries(queries)
    explains = place is not None or url is not None
    if explains and not texts:
        raise typer.BadParameter("an explanation needs the queries' texts; name them with --queries")
    before, after = read_run(run_a), read_run(run_b)
    with ExitStack() as stack:
        explain = None
        if explains:
            opened = stack.enter_context(_open(context, place or DEFAULT_INDEX, url, collection, create=False))

            def explain(query: str, id: str) -> Any:  # noqa: ANN401 whatever the index explains with
                # A run from elsewhere may name documents that this index does not hold.
                return opened.explain(query, id) if opened.get([id]) else None

        compared = compare_runs(
            before, after, grades, measure=measure, most=most, texts=texts, explain=explain, test=test
        )
        if as_json:
            _print_json(comparison_to_dict(compared))
        else:
            show_comparison(_console(), compared)


@app.command()
def export(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not be there yet.")],
    format: Annotated[
        Literal["anserini", "elasticsearch", "opensearch"],
        typer.Option("--for", help="JSON vectors for Anserini and Pyserini, or a bulk file."),
    ],
    queries: Annotated[
        Path | None, typer.Option(help="Also these queries (JSONL or TSV), into a file beside: FILE.queries.")
    ] = None,
    place: In = DEFAULT_INDEX,
    url: Url = None,
    collection: Collection = "tercet",
    name: Annotated[str, typer.Option(help="The engine's index that a bulk file writes to.")] = "tercet",
) -> None:
    """Write the sparse vectors of an index as another engine loads them.

    [bold]tercet export vectors.jsonl --for anserini --queries questions.jsonl[/]

    [bold]tercet export bulk.ndjson --for elasticsearch --name passages[/]
    """
    from tercet.evaluation import read_queries
    from tercet.evaluation.export import export_documents, export_queries

    texts = {} if queries is None else read_queries(queries)
    beside = target.with_name(f"{target.name}.queries")
    for path in (target, beside) if texts else (target,):
        if path.exists():
            raise ValueError(f"{path} is there already; delete it, or name another file")
    with _open(context, place, url, collection, create=False) as opened:
        count = export_documents(opened, target, format, name=name)
        if texts:
            export_queries(opened.encoder, texts, beside, format)
    typer.echo(f"{count:,} documents in {target}" + (f", {len(texts):,} queries in {beside}" if texts else ""))


# --- helpers ---


def _open(context: typer.Context, path: Path, url: str | None, collection: str, *, create: bool) -> HybridIndex:
    from tercet.index import HybridIndex

    # Who calls the app from Python may pass an encoder as the context's object; the shell gets the shipped one.
    encoder = context.obj
    if url is None:
        from tercet.store.manifest import MANIFEST

        # The library's own message speaks of an argument, which no one has here.
        if not create and not (path.expanduser() / MANIFEST).exists():
            raise StoreError(f"there is no index at {path}; make one with: tercet index PATH --into {path}")
        return HybridIndex.open(path, encoder=encoder, create=create)
    api_key = os.environ.get("QDRANT_API_KEY")
    return HybridIndex.open(url=url, collection=collection, api_key=api_key, encoder=encoder, create=create)


def _where(conditions: Sequence[str] | None) -> dict[str, Any] | None:
    """One filter from all --where options, joined by and."""
    if not conditions:
        return None
    parsed = [_condition(condition) for condition in conditions]
    return parsed[0] if len(parsed) == 1 else {"and": parsed}


def _condition(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise typer.BadParameter(f"--where {text!r} is not JSON: {error}") from error
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise typer.BadParameter(f"--where takes KEY=VALUE or a JSON object, got {text!r}")
    return {key.strip(): {"in": _spellings(value)}}


def _spellings(text: str) -> list[str | int | float | bool]:
    """The values that a text may mean: 2024 a number or a string, as a CSV holds it, and "2024" in quotes a string."""
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    match value:
        case str():
            return [value]
        case int() | float() if abs(value) <= sys.float_info.max:  # not NaN, which JSON has none of; True is 1 here
            return [value, text]
        case _:
            return [text]


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


def _print_json(value: object) -> None:
    # ASCII: right under every locale, and no byte of a document can act on a terminal.
    typer.echo(json.dumps(value, indent=2))


def _console() -> Console:
    return Console(highlight=False)
