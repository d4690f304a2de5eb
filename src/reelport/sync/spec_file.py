"""The file `reelport.toml`: named specs, read with every problem at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from reelport import check
from reelport.catalog import Dimension, Limit
from reelport.check import nearest
from reelport.client.ranges.windows import LONGEST_MONTH
from reelport.client.settings.config import expand_path
from reelport.client.settings.profile_file import PROJECT_NAMES
from reelport.errors import StorageError, UsageError
from reelport.query import DEFAULT_PRODUCT
from reelport.sync.spec import LOOKBACK, SETTLE, Contract, Kind, Place, Spec

NAME = "reelport.toml"

_COMMON = ("destination", "start", "product", "lookback", "settle", "window", "contract")
_OWN = ("metrics", "dimensions", "filters", *_COMMON)
_NAMES = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DUCKDB = frozenset({".duckdb", ".ddb", ".db"})
_LONGEST = 3660

_UNREAD = ("",)
"""In the place of names that are missing or no names: nothing can be said of a query that has them."""


def read(path: str | os.PathLike[str] = NAME, *, only: Iterable[str] = (), placed: bool = True) -> tuple[Spec, ...]:
    """The specs of a file, in its order; with `only`, those of these names.

    Raises UsageError with every problem of the file, and StorageError when it can't be read. Relative
    destinations are taken from the folder of the file. Unless they are to be `placed` they may have none.
    """
    path = expand_path(path)
    found = _Sheet(path.resolve().parent, placed)
    specs = found.specs(_content(path))
    names = [spec.name for spec in specs]
    if not found.problems:
        for name in dict.fromkeys(name for name in only if name not in names):
            found.wrong("", f"there is no report {name!r}{_meant(name, names)}")
    if found.problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in (*found.problems, *found.doubts)))
    chosen = set(only or names)
    return tuple(spec for spec in specs if spec.name in chosen)


def _content(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise UsageError(f"There is no {path}: `reelport sync init` writes one to begin with.") from None
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}.") from None


@dataclass(slots=True)
class _Sheet:
    """Takes a file's tables apart, and gathers what is wrong with them."""

    folder: Path
    placed: bool
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    """Names that we don't know and the service may: told where something is wrong anyway."""

    def wrong(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}" if where else what)

    def specs(self, content: Mapping[str, Any]) -> tuple[Spec, ...]:
        content = self._known("", content, PROJECT_NAMES)  # profiles are read by the client
        defaults = self._known("defaults", self._table("defaults", content.get("defaults", {})), _COMMON)
        defaults = self._sound({key: value for key, value in defaults.items() if key in _COMMON})
        reports = self._table("reports", content.get("reports", {}))
        if not reports and not self.problems:
            self.wrong("", "there is no report in it: begin one with [reports.NAME]")
        specs = [self._spec(name, defaults, self._table(f"reports.{name}", own)) for name, own in reports.items()]
        return tuple(spec for spec in specs if spec is not None)

    def _sound(self, defaults: Mapping[str, Any]) -> Mapping[str, Any]:
        """The defaults; one that is wrong is said to be so here, once, and is another in the reports."""
        other = {"destination": "-", "start": datetime.now(UTC).date().replace(day=1)}
        sound: dict[str, Any] = {}
        for key, value in defaults.items():
            before = len(self.problems)
            self._settings("defaults", "", {key: value})
            if len(self.problems) == before:
                sound[key] = value
            elif key in other:
                sound[key] = other[key]
        return sound

    def _spec(self, name: str, defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Spec | None:
        where, before = f"reports.{name}", len(self.problems)
        if not _NAMES.fullmatch(name):
            self.wrong(where, "a name is a lower-case letter, then up to 62 of a-z, 0-9 and _: tables are called by it")
        rows = {**defaults, **self._known(where, own, _OWN)}
        for key in ("metrics", "dimensions", "start", "destination"):
            if key not in rows and (self.placed or key != "destination"):
                self.wrong(where, f"{key} is missing")
        spec = self._settings(where, name, rows)
        if _UNREAD not in {spec.metrics, spec.dimensions}:
            self._meaning(where, spec)
        return spec if len(self.problems) == before else None

    def _settings(self, where: str, name: str, rows: Mapping[str, Any]) -> Spec:
        """The settings as they are given; for one that is missing or wrong something that is well-formed."""
        return Spec(
            name,
            self._names(where, rows, "metrics"),
            self._names(where, rows, "dimensions"),
            self._day(where, rows.get("start", date.min)),
            self._place(where, rows.get("destination", "-")),
            self._filters(where, rows.get("filters", {})),
            str(self._word(where, rows, "product", DEFAULT_PRODUCT)).upper(),
            self._number(where, rows, "lookback", LOOKBACK, 0),
            self._number(where, rows, "settle", SETTLE, 0),
            self._number(where, rows, "window", Limit.RANGE_DAYS.default, 1),
            self._contract(where, rows),
        )

    def _meaning(self, where: str, spec: Spec) -> None:
        """What is wrong with a spec as a whole."""
        today = datetime.now(UTC).date()
        if spec.time is None and all(name in Dimension.__members__ for name in spec.dimensions):
            self.wrong(where, "nothing tells its days apart, so no day of it could be replaced: add DAY to dimensions")
        if spec.monthly and spec.start.day != 1 and spec.start > date.min:
            first = spec.start.replace(day=1)
            self.wrong(where, f"its rows are of whole months: let it start on a first, {first}, or add DAY")
        if spec.monthly and spec.window < LONGEST_MONTH:
            self.wrong(where, f"its rows are of whole months: a window of {spec.window} days is too short")
        if spec.start > today:
            self.wrong(where, f"start: {spec.start} lies in the future")
        first = min(spec.start, today) if spec.start > date.min else today
        for problem in check.problems(spec.query(first, first), today=today, rules=check.Rules(strict=False)):
            # Whether the service knows a name that we don't is asked when it is spoken to: but days are of our names.
            if problem.fatal or (spec.time is None and problem.path[:1] == ("dimensions",)):
                self.wrong(where, str(problem))
            else:
                self.doubts.append(f"{where}: {problem}")

    def _known(self, where: str, rows: Mapping[str, Any], known: tuple[str, ...]) -> Mapping[str, Any]:
        """The rows by known keys alone. What stands under a mistyped one is looked at under the one that was meant."""
        sound = {key: value for key, value in rows.items() if key in known}
        for key in rows:
            if key not in known:
                self.wrong(where, f"there is no {key[:80]!r} here{_meant(key, known)}")
                if near := nearest(key, known):
                    sound.setdefault(near, rows[key])
        return sound

    def _table(self, where: str, value: object) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self.wrong(where, "it must be a table")
        return {}

    def _names(self, where: str, rows: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = rows.get(key)
        if isinstance(value, list) and all(isinstance(name, str) and name.strip() for name in value):
            return tuple(name.strip().upper() for name in value)
        if key in rows:
            self.wrong(where, f'{key} must be a list of names, such as ["…", "…"]')
        return _UNREAD

    def _filters(self, where: str, value: object) -> tuple[tuple[str, str], ...]:
        if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
            return tuple(sorted(value.items()))
        self.wrong(where, 'filters must be a table of names and texts, such as { mediaType = "VIDEO" }')
        return ()

    def _day(self, where: str, value: object) -> date:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        try:
            if isinstance(value, str):
                return date.fromisoformat(value)
        except ValueError:
            pass
        self.wrong(where, f"start: {str(value)[:40]!r} is no day: write it as 2026-01-31")
        return date.min

    def _number(self, where: str, rows: Mapping[str, Any], key: str, default: int, least: int) -> int:
        value = rows.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= _LONGEST:
            return value
        self.wrong(where, f"{key}: {str(value)[:40]!r} is no number of days from {least} to {_LONGEST}")
        return default

    def _word(self, where: str, rows: Mapping[str, Any], key: str, default: str) -> str:
        value = rows.get(key, default)
        if isinstance(value, str) and value.strip():
            return value.strip()
        self.wrong(where, f"{key} must be a text")
        return default

    def _contract(self, where: str, rows: Mapping[str, Any]) -> Contract:
        word = self._word(where, rows, "contract", Contract.EVOLVE)
        if word in set(Contract):
            return Contract(word)
        self.wrong(where, f"contract: {word[:40]!r} is none of {', '.join(Contract)}")
        return Contract.EVOLVE

    def _place(self, where: str, value: object) -> Place:
        if not isinstance(value, str) or not value.strip():
            self.wrong(where, "destination must be the path of a .duckdb file, or of a folder for Parquet")
            return Place(Kind.PARQUET, self.folder)
        try:
            path = self.folder / expand_path(value.strip())
        except UsageError as error:
            self.wrong(where, f"destination: {error}")
            return Place(Kind.PARQUET, self.folder)
        if path.suffix.lower() in _DUCKDB:
            return Place(Kind.DUCKDB, path)
        if path.suffix:
            self.wrong(where, f"destination: {value!r} is neither a .duckdb file nor a folder (a name without a dot)")
        return Place(Kind.PARQUET, path)


def _meant(word: str, known: Iterable[str]) -> str:
    known = tuple(known)
    near = nearest(word, known)
    return f": did you mean {near}?" if near else f": there are {', '.join(known)}" if known else ""
