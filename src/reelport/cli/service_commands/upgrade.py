"""`upgrade`: bring a data directory to this version, or try what that does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from reelport.cli.arguments.print_json import PrintJson
from reelport.cli.output.listing import print_fields
from reelport.cli.service_commands.access import Data

if TYPE_CHECKING:
    from reelport.server.settings import Settings
    from reelport.server.upgrade.rehearsal import Rehearsal


def upgrade(
    *,
    check: Annotated[bool, Parameter(negative="", help="Only try it, and show what it does.")] = False,
    scratch: Annotated[
        Path | None, Parameter(help="Where --check copies the state to for the while; the data directory by default.")
    ] = None,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Bring a data directory to this version, as the first start of this version would.

    `--check` migrates a copy of the SQLite state. PostgreSQL is migrated in a transaction that is rolled back; whoever
    uses its tables waits for that while.

    Example: reelport upgrade --check
    """
    from reelport.server.settings import read_settings
    from reelport.storage.modes import set_readers

    settings = read_settings(data=data)
    set_readers(settings.readers)
    if not check:
        print_fields(_upgrade(settings), as_json=json)
        return
    done = _check(settings, scratch)
    print_fields(done if json else {**done, **_shorten(done)}, as_json=json)


def _upgrade(settings: Settings) -> dict[str, object]:
    from reelport.facts.layout import check_existing
    from reelport.server.state.database import connected
    from reelport.server.state.revisions import REVISION
    from reelport.server.upgrade.rehearsal import read_state_revision

    check_existing(settings.data)
    found, started = read_state_revision(settings), time.monotonic()
    with connected(settings):
        seconds = time.monotonic() - started
    return {"from_revision": found, "to_revision": REVISION, "seconds": round(seconds, 3)}


def _check(settings: Settings, scratch: Path | None) -> dict[str, object]:
    from reelport.facts.layout import LAYOUT
    from reelport.server.state.revisions import REVISION
    from reelport.server.upgrade.rehearsal import rehearse

    tried = rehearse(settings, scratch)
    return {
        "from_layout": tried.layout,
        "to_layout": LAYOUT,
        "from_revision": tried.found,
        "to_revision": REVISION,
        "migrations": [f"{each.revision} {each.sentence}" for each in tried.pending],
        "changes": list(tried.changes),
        "columns_with_the_next_load": tried.missing_columns,
        "seconds": round(tried.seconds, 3),
        "room_needed": tried.room_needed,
        "room_free": None if settings.database_url else shutil.disk_usage(settings.data).free,
        "old_processes": _describe_old_processes(tried),
    }


def _shorten(done: Mapping[str, object]) -> dict[str, object]:
    """Break lists into lines for people."""
    return {name: "\n  ".join(["", *value]) for name, value in done.items() if isinstance(value, list)}


def _describe_old_processes(tried: Rehearsal) -> str:
    if not tried.pending:
        return "They and new ones may run: nothing changes."
    if not tried.blockers:
        return "Those that run go on until they are stopped. One that starts afterwards is refused."
    return f"Stop them first: they can't go on after {', '.join(each.revision for each in tried.blockers)}."
