"""`state`: move the state between SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from reelport.cli.arguments.print_json import PrintJson
from reelport.cli.output.listing import print_fields
from reelport.local_path import is_address

if TYPE_CHECKING:
    from reelport.server.settings import Settings

STATE = App(name="state", help="The database of organizations, keys and reports.")

Place = Annotated[
    str, Parameter(help="A data directory, for its SQLite; or postgresql://…, its password better in ~/.pgpass.")
]


@STATE.command(name="copy")
def copy(source: Place, target: Place, *, json: PrintJson = False) -> None:
    """Copy the whole state into an empty database: SQLite to PostgreSQL, or back.

    Stop every process of the service first. It is copied whole or not at all, and stays unchanged where it was. Tables
    and report files stay in the data directory; the secret goes along with it.

    Example: reelport state copy restored postgresql://reelport@db.internal/reelport
    """
    from reelport.server.state.state_copy import copy_state

    copied = copy_state(_read_place(source), _read_place(target))
    shown = {"from": copied.source, "to": copied.target, "rows": sum(copied.rows.values())}
    print_fields({**shown, **{name: count for name, count in copied.rows.items() if count}}, as_json=json)


def _read_place(place: str) -> Settings:
    from reelport.server.settings import read_settings
    from reelport.storage.modes import set_readers

    given = {"database_url": place} if is_address(place) else {"database_url": "", "data": Path(place)}
    settings = read_settings(**given)
    set_readers(settings.readers)
    return settings
