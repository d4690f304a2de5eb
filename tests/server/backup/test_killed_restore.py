"""A restore that was killed while it wrote one of the files that say how far it is."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.server.backup.conftest import Desk

from reelport.errors import StorageError, UsageError
from reelport.facts import layout
from reelport.server.backup.restore import restore_backup
from reelport.server.settings import Settings
from reelport.storage.durable import strip_draft

_DIE_WRITING = """
import resource, signal, sys
from pathlib import Path
from reelport.facts import layout
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
data = Path(sys.argv[1])
layout.end_restore(data) if sys.argv[2] == "end" else layout.begin_restore(data, "a restore that was killed")
"""


def test_a_restore_that_dies_before_its_mark_is_there_begins_anew(backed_up: Desk) -> None:
    """The draft of the mark is nobody's data; next to anything else it stays, and is refused."""
    made, place = backed_up.archive.read(), backed_up.place()
    assert _die(place.data, "begin") == layout.UNFINISHED_NAME
    (place.data / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="isn't empty"):
        restore_backup(backed_up.archive, made, place)
    (place.data / "notes.txt").unlink()
    _restore(backed_up, place)


def test_a_restore_that_dies_at_its_end_begins_anew(backed_up: Desk) -> None:
    """Neither the layout file nor its draft is in the way."""
    place = backed_up.place()
    layout.begin_restore(place.data, "a restore that was killed")
    assert _die(place.data, "end") == layout.FILE_NAME
    (place.data / layout.FILE_NAME).write_text("written just before it was killed")
    with pytest.raises(StorageError, match="was not finished: run `reelport restore` again"):
        layout.check_existing(place.data)
    _restore(backed_up, place)


@pytest.mark.parametrize("name", ["layout.json", "x.part", "x.0123456789ab.part.txt", "x.0123456789aG.part"])
def test_a_name_that_is_no_drafts_stays(name: str) -> None:
    """Only what a killed write leaves is known as its file."""
    assert strip_draft(name) == name


def _restore(desk: Desk, place: Settings) -> None:
    """Restore there, and see that nothing of the killed one is left."""
    restore_backup(desk.archive, desk.archive.read(), place)
    layout.check_existing(place.data)
    assert list(place.data.glob("*.part")) == []


def _die(data: Path, at: str) -> str:
    """Kill a process in the middle of a write; return the name of the file whose draft it leaves."""
    before = set(data.iterdir())
    done = subprocess.run([sys.executable, "-c", _DIE_WRITING, str(data), at], check=False)
    assert done.returncode == -signal.SIGXFSZ
    (draft,) = set(data.iterdir()) - before
    assert draft.name != strip_draft(draft.name)
    return strip_draft(draft.name)
