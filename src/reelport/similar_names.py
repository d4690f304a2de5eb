"""Finds the known name that was probably meant by an unknown one, and suggests it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from functools import cache

from reelport.catalog import Dimension, find_synonyms
from reelport.language import _

_MOST_SUGGESTED = 6
"""Up to so many known names, a sentence lists them all when none is near."""
_MIN_SIMILARITY = 0.6
"""How similar two names must be (difflib's ratio, 0 to 1) for one to be suggested for the other."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Find the known name that was probably meant; None when none is similar."""
    by_upper = {each.upper(): each for each in names}
    close = difflib.get_close_matches(name[:100].upper(), by_upper, n=1, cutoff=_MIN_SIMILARITY)
    return by_upper[close[0]] if close else None


def suggest_name(name: str, known: Collection[str], fitting: Collection[str] = ()) -> str | None:
    """Find the name of the catalog that was probably meant; None when none is like it.

    A word of the trade leads to the wire's name for it. Of several that were meant, or are similar to it, one of
    `fitting` is suggested before others: those that go with the rest of a query.
    """
    if (spelled := name.strip().upper().replace("-", "_")) in known:
        return spelled
    meant = [each for each in find_synonyms(name) if each in known]
    if not meant and (near := nearest(name, known)) is not None:
        similar = [each for each in _rank_similar_names(near) if each in known] if near not in fitting else []
        meant = [near, *similar]
    return next((each for each in meant if each in fitting), meant[0] if meant else None)


def suggest_dimension(name: str, fitting: Collection[str]) -> str | None:
    """Find the one of `fitting` whose name is nearest to a dimension's, or None."""
    return next((each for each in _rank_similar_names(name) if each in fitting), None)


def advice(near: str | None, names: Iterable[str]) -> str:
    """Suggest, after an unknown name, the nearest of `names`, or all of them when they are few."""
    known = list(names)
    if near:
        return " " + _("Did you mean %(name)s?", name=near)
    return " " + _("There are %(names)s.", names=", ".join(known)) if 0 < len(known) <= _MOST_SUGGESTED else ""


def suggest(name: str, known: Iterable[str]) -> str:
    """Suggest, after an unknown name, the nearest of the known ones as `advice` does."""
    names = list(known)
    return advice(nearest(name, names), names)


@cache
def _rank_similar_names(name: str) -> tuple[str, ...]:
    names = [each.name for each in Dimension]
    return tuple(difflib.get_close_matches(name, names, n=len(names), cutoff=_MIN_SIMILARITY))
