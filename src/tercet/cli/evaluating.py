"""An index measured against judgements, runs compared, vectors written for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tercet.cli.options import Json, Place, PlaceIfAny, Significance, console, print_json


def evaluate(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="A BEIR folder: corpus.jsonl, queries.jsonl, qrels.tsv (or qrels/)."),
    ] = None,
    *,
    at: PlaceIfAny,
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
    test: Significance = "t-test",
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
    if (at.place is not None) + (at.url is not None) + (into is not None) > 1:
        raise typer.BadParameter("the index is one of --in, --url and --into")
    check_endings(write or ())
    on_error: Literal["skip", "raise"] = "skip" if skip_errors else "raise"
    if folder is not None:
        judged = read_collection(folder, split=split, on_error=on_error)
    else:
        assert queries is not None and qrels is not None  # noqa: S101, PT018 for mypy
        judged = read_judgements(queries, qrels, on_error=on_error)
    if not at.given and not judged.documents:
        raise typer.BadParameter("there are no documents to index; name the index that holds them with --in or --url")
    others = {path.name.removesuffix(".gz").rsplit(".", 1)[0]: read_run(path) for path in runs or ()}
    with tempfile.TemporaryDirectory() as scratch:
        with at.open(into or Path(scratch) / "index", create=not at.given) as opened:
            if not at.given:
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
        print_json(to_dict(evaluation))
    else:
        show_evaluation(console(), evaluation)


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A TREC run: before.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="A TREC run: after.")],
    qrels: Annotated[Path, typer.Option(help="Judgements (TREC or BEIR), or a BEIR folder.")],
    queries: Annotated[Path | None, typer.Option(help="Queries (JSONL or TSV), to show their texts.")] = None,
    *,
    at: PlaceIfAny,
    measure: Annotated[str, typer.Option(help="What queries win or lose by.")] = "nDCG@10",
    most: Annotated[int, typer.Option("-n", min=0, help="Queries to show that won, and that lost.")] = 5,
    test: Significance = "t-test",
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
    if at.given and not texts:
        raise typer.BadParameter("an explanation needs the queries' texts; name them with --queries")
    before, after = read_run(run_a), read_run(run_b)
    with ExitStack() as stack:
        explain = None
        if at.given:
            opened = stack.enter_context(at.open())

            def explain(query: str, id: str) -> Any:  # noqa: ANN401 whatever the index explains with
                # A run from elsewhere may name documents that this index does not hold.
                return opened.explain(query, id) if opened.get([id]) else None

        compared = compare_runs(
            before, after, grades, measure=measure, most=most, texts=texts, explain=explain, test=test
        )
        if as_json:
            print_json(comparison_to_dict(compared))
        else:
            show_comparison(console(), compared)


def export(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not be there yet.")],
    format: Annotated[
        Literal["anserini", "elasticsearch", "opensearch"],
        typer.Option("--for", help="JSON vectors for Anserini and Pyserini, or a bulk file."),
    ],
    queries: Annotated[
        Path | None, typer.Option(help="Also these queries (JSONL or TSV), into a file beside: FILE.queries.")
    ] = None,
    *,
    at: Place,
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
    with at.open() as opened:
        count = export_documents(opened, target, format, name=name)
        if texts:
            export_queries(opened.encoder, texts, beside, format)
    typer.echo(f"{count:,} documents in {target}" + (f", {len(texts):,} queries in {beside}" if texts else ""))
