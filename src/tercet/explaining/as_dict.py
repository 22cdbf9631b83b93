"""Explanations in, JSON values out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tercet.encoders.base import Token
from tercet.explaining.comparison import Comparison
from tercet.explaining.explanation import Explanation, LateMatch, TermPart
from tercet.explaining.inquiry import StagePart
from tercet.explaining.why_not import WhyNot


def explanation_to_dict(explanation: Explanation, *, ask_model: bool) -> dict[str, Any]:
    terms = [_term(term) for term in explanation.terms]
    if ask_model:
        for each, term in zip(terms, explanation.terms, strict=True):
            origin = explanation.origins[term.token_id]
            each |= {"query_origin": _token(origin.query), "document_origin": _token(origin.document)}
    described = {
        "query": explanation.query,
        "id": explanation.id,
        "text": explanation.document.text,
        "rank": explanation.rank,
        "score": explanation.score,
        "plan": asdict(explanation.inquiry.plan),
        "stages": [_stage(part) for part in explanation.stages],
        "terms": terms,
        "matches": [_match(match) for match in explanation.matches],
    }
    if ask_model:
        described["sentences"] = [asdict(sentence) for sentence in explanation.sentences]
    return described


def why_not_to_dict(why_not: WhyNot, *, ask_model: bool) -> dict[str, Any]:
    return {
        "found": why_not.found,
        "fell_at": None if why_not.fell_at is None else why_not.fell_at.name,
        "gates": [{**asdict(gate), "missing": gate.missing} for gate in why_not.gates],
        "explanation": explanation_to_dict(why_not.explanation, ask_model=ask_model),
    }


def comparison_to_dict(comparison: Comparison) -> dict[str, Any]:
    return {
        "summary": comparison.summary,
        "difference": comparison.difference,
        "stages": [{**asdict(each), "difference": each.difference} for each in comparison.stages],
        "terms": [{**asdict(each), "difference": each.difference} for each in comparison.terms],
        "matches": [
            {
                "query": _token(each.query),
                "first": _match(each.first),
                "second": _match(each.second),
                "difference": each.difference,
            }
            for each in comparison.matches
        ],
        "first": explanation_to_dict(comparison.first, ask_model=False),
        "second": explanation_to_dict(comparison.second, ask_model=False),
    }


def _stage(part: StagePart) -> dict[str, Any]:
    return {**asdict(part), "residual": part.residual}


def _term(term: TermPart) -> dict[str, Any]:
    return {**asdict(term), "contribution": term.contribution, "expansion": term.expansion}


def _match(match: LateMatch) -> dict[str, Any]:
    return {
        "query": _token(match.query),
        "document": _token(match.document),
        "similarity": match.similarity,
        "importance": match.importance,
        "contribution": match.contribution,
        **({"merged": [_token(token) for token in match.merged]} if match.merged else {}),
        "special": match.special,
    }


def _token(token: Token | None) -> dict[str, Any] | None:
    return None if token is None else {**token._asdict(), "special": token.special}
