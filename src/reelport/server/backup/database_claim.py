"""Claims an empty PostgreSQL for one data directory's restore, until the state is loaded.

Two restores that find it empty would else both begin, and one that was killed takes the state that another has loaded
for its own: two directories would share one state. A killed restore knows its claim again by its directory's mark.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection, Engine, inspect, text

from reelport.errors import ReelportError, UsageError
from reelport.facts.layout import begin_restore, cancel_restore, read_unfinished
from reelport.server.settings import Settings
from reelport.server.state.database import CLAIM, FREE_CLAIM, lock_tables, open_database, reading, writing

_READ = text(f"SELECT token FROM {CLAIM}")  # noqa: S608 - a name of ours
_CLAIM = text(f"CREATE TABLE {CLAIM} AS SELECT CAST(:token AS text) AS token")

_NOT_EMPTY = "The database of REELPORT_DATABASE_URL isn't empty: name a new one."
_ELSEWHERE = (
    "The database of REELPORT_DATABASE_URL is being restored into another data directory: "
    "run that restore to its end, or name a new database."
)


@dataclass(frozen=True, slots=True)
class DatabaseClaim:
    """The claim of one restore on its database.

    `origin` says which backup goes where, `token` is the data directory's own. `before` is the mark that an unfinished
    restore left in the directory.
    """

    settings: Settings
    origin: str
    token: str
    before: str | None

    @classmethod
    def of(cls, settings: Settings, origin: str) -> Self:
        """Make the claim of a restore, or the one that its killed forerunner may have taken."""
        before = read_unfinished(settings.data)
        _, token, *_ = [*(before or "").split("\n"), ""]
        return cls(settings, origin, token or secrets.token_hex(16), before)

    def find_problem(self) -> str | None:
        """Say why the database can't be restored into, if it can't."""
        with self._connect(reading) as connection:
            return self._find_problem(connection)

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Mark the directory and claim the database for the block.

        Gives whether the state must be loaded in it. Raises UsageError where another restore was faster; a directory
        without a mark has none then, too. After an error of a block that had to load the state the database is free
        again: what lies in it then is somebody else's.
        """
        must_load = self._take()
        try:
            yield must_load
        except ReelportError:
            if must_load:
                with suppress(ReelportError):  # the first error says more
                    self._give_back()
            raise
        begin_restore(self.settings.data, self._loaded_mark)
        self._give_back()

    def _take(self) -> bool:
        # The origin alone marked restores of earlier versions, whether they had loaded the state or not.
        is_loaded = self.before in {self.origin, self._loaded_mark}
        begin_restore(self.settings.data, self._loaded_mark if is_loaded else self._mark)
        try:
            with self._connect(writing) as connection:
                must_load = self._claim(connection)
        except UsageError:
            if self.before is None:
                cancel_restore(self.settings.data)
            raise
        if must_load and is_loaded:  # somebody has emptied the database since
            begin_restore(self.settings.data, self._mark)
        return must_load

    def _give_back(self) -> None:
        with self._connect(writing) as connection:
            connection.execute(text(f"DROP TABLE IF EXISTS {CLAIM}"))

    @property
    def _mark(self) -> str:
        return f"{self.origin}\n{self.token}"

    @property
    def _loaded_mark(self) -> str:
        return f"{self._mark}\nloaded"

    def _claim(self, connection: Connection) -> bool:
        lock_tables(connection)  # who looks after us sees the claim, be it a restore or a service that begins
        if problem := self._find_problem(connection):
            raise UsageError(problem)
        must_load = not _list_others(connection)
        if must_load and not inspect(connection).has_table(CLAIM):
            connection.execute(_CLAIM, {"token": self.token})
        return must_load

    def _find_problem(self, connection: Connection) -> str | None:
        held = connection.execute(_READ).scalar() if inspect(connection).has_table(CLAIM) else None
        if held not in {None, self.token}:
            return _ELSEWHERE if _list_others(connection) else _ELSEWHERE + FREE_CLAIM
        is_other = (self.before or "").split("\n")[0] != self.origin
        # Without the claim only a mark that tells so: another's restore may have ended meanwhile.
        is_unproven = held is None and self.before == self._mark
        return _NOT_EMPTY if (is_other or is_unproven) and _list_others(connection) else None

    @contextmanager
    def _connect(self, use: Callable[[Engine], AbstractContextManager[Connection]]) -> Iterator[Connection]:
        db = open_database(self.settings)
        try:
            with use(db) as connection:
                yield connection
        finally:
            db.dispose()


def _list_others(connection: Connection) -> set[str]:
    return {*inspect(connection).get_table_names()} - {CLAIM}
