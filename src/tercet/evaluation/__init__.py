"""Judgements in, figures out: whether a change made retrieval better.

judgements ─► runs ─► measures ─► significance ─► report
"""

from tercet.evaluation.experiment import Evaluation, evaluate
from tercet.evaluation.judgements import JudgedCollection, read_collection, read_judgements, read_qrels, read_queries
from tercet.evaluation.measures import Scores, score
from tercet.evaluation.runs import Run, fuse_runs, read_run, write_run

__all__ = [
    "Evaluation",
    "JudgedCollection",
    "Run",
    "Scores",
    "evaluate",
    "fuse_runs",
    "read_collection",
    "read_judgements",
    "read_qrels",
    "read_queries",
    "read_run",
    "score",
    "write_run",
]
