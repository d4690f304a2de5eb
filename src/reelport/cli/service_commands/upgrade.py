"""`upgrade`: bring a data directory to this version, or try what that does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from reelport.cli.arguments.print_json import PrintJson
from reelport.cli.output.listing import print_fields
from reelport.cli.service_commands.access import Data

if TYPE_CHECKING:
    from reelport.server.settings import Settings


def upgrade(
    *,
    check: Annotated[bool, Parameter(negative="", help="Only try it, and show what it does.")] = False,
    scratch: Annotated[
        Path | None,
        Parameter(help="Where --check copies the state to for the while; the system's temporary folder by default."),
    ] = None,
    scratch_database: Annotated[
        str | None,
        Parameter(
            help="An empty database to copy a state of PostgreSQL into, emptied afterwards; by default a server "
            "of its own is started for the while."
        ),
    ] = None,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Bring a data directory to this version, as the first start of this version would.

    `--check` migrates a copy of the state; the service may run.

    Example: reelport upgrade --check
    """
    from reelport.server.settings import read_settings
    from reelport.storage.modes import set_readers

    settings = read_settings(data=data)
    set_readers(settings.readers)
    done = _check(settings, scratch, scratch_database) if check else _upgrade(settings)
    print_fields(done if json else {**done, **_shorten(done)}, as_json=json)


def _upgrade(settings: Settings) -> dict[str, object]:
    from reelport.facts.layout import check_existing
    from reelport.server.state.database import connected, read_state_revision
    from reelport.server.state.revisions import REVISION

    check_existing(settings.data)
    found, started = read_state_revision(settings), time.monotonic()
    with connected(settings):
        seconds = time.monotonic() - started
    return {"from_revision": found, "to_revision": REVISION, "seconds": round(seconds, 3)}


def _check(settings: Settings, scratch: Path | None, scratch_database: str | None) -> dict[str, object]:
    from reelport.facts.layout import LAYOUT, check_existing, read_layout
    from reelport.server.backup.check import try_upgrade
    from reelport.server.state.database import read_state_revision
    from reelport.server.state.revisions import REVISION, list_pending

    check_existing(settings.data)
    found = read_state_revision(settings)
    pending, started = list_pending(found), time.monotonic()
    if found is not None:
        try_upgrade(settings, scratch, scratch_database)
    blockers = [each.revision for each in pending if found is not None and not each.backward_compatible]
    return {
        "from_layout": read_layout(settings.data),
        "to_layout": LAYOUT,
        "from_revision": found,
        "to_revision": REVISION,
        "migrations": [f"{each.revision} {each.sentence}" for each in pending],
        "seconds": round(time.monotonic() - started, 3),
        "old_processes": _describe_old_processes(blockers, is_needed=bool(pending)),
    }


def _shorten(done: dict[str, object]) -> dict[str, object]:
    """Break lists into lines for people."""
    return {name: "\n  ".join(["", *value]) for name, value in done.items() if isinstance(value, list)}


def _describe_old_processes(blockers: list[str], *, is_needed: bool) -> str:
    if not is_needed:
        return "They and new ones may run: nothing changes."
    if not blockers:
        return "Those that run go on until they are stopped. One that starts afterwards is refused."
    return f"Stop them first: they can't go on after {', '.join(blockers)}."
