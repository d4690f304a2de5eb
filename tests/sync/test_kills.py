"""Killed at any step: the copy is as it was before, or as it is after; the same again ends as it should."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out

from reelport.errors import UsageError
from reelport.killpoints import VARIABLE
from reelport.sync.destinations import lock_destination, open_destination
from reelport.sync.spec import Kind, Place, Spec

from .conftest import HEADER, day, kept, put, spec_at, types

STEPS = {
    Kind.DUCKDB: ("sync-deleted", "sync-inserted", "sync-stated", "sync-committed"),
    Kind.PARQUET: ("sync-written", "sync-version", "sync-committed"),
}
BEFORE = HEADER + "2026-01-01,FR,1,\n2026-01-02,FR,2,\n2026-01-03,FR,3,\n"
AFTER = "day,visitor_country,views,estimated_earnings_eur,bots\n2026-01-02,ES,20,,7\n2026-01-04,ES,40,,\n"

REPLACE = """
import sys
from pathlib import Path
from reelport.sync.spec import Kind, Place
from tests.sync.conftest import put, spec_at
put(spec_at(Place(Kind(sys.argv[1]), Path(sys.argv[2]))), sys.argv[3], 2, 4)
"""

HOLD = """
import sys, time
from pathlib import Path
from reelport.sync.destinations import lock_destination
from reelport.sync.spec import Kind, Place
with lock_destination(Place(Kind(sys.argv[1]), Path(sys.argv[2]))):
    print("held", flush=True)
    time.sleep(600)
"""


def replace_in_another_process(spec: Spec, step: str) -> int:
    """Replace the window in a process that is killed at the step; how it ended."""
    words = ["-c", REPLACE, spec.place.kind, str(spec.place.path), AFTER]
    environment = os.environ | {VARIABLE: step, "PYTHONPATH": str(Path(__file__).parents[2])}
    return forked.run(words, env=environment).returncode


@pytest.mark.parametrize("there", thin_out([False, True], 4), ids=["new", "there"])
@pytest.mark.parametrize("number", thin_out(range(4), 3))
def test_a_kill_leaves_the_copy_as_before_or_as_after(spec: Spec, number: int, there: bool) -> None:
    """Rows, columns and state change together or not at all; after the last step they have."""
    steps = STEPS[spec.place.kind]
    if number >= len(steps):
        return
    if there:
        put(spec, BEFORE, 1, 3)
    before = snapshot(spec)
    assert replace_in_another_process(spec, steps[number]) == -signal.SIGKILL
    found = snapshot(spec)
    put(spec, AFTER, 2, 4)
    after = snapshot(spec)
    assert found == (after if steps[number] == "sync-committed" else before)
    assert before != after
    assert leftovers(spec) == []


def snapshot(spec: Spec) -> object:
    """All that a copy holds and says of itself."""
    with open_destination(spec.place).view(spec) as view:
        if view is None:
            return None
    columns = types(spec)
    state = open_destination(spec.place).state(spec)
    return kept(spec, "* EXCLUDE (_loaded_at)"), columns, state


def leftovers(spec: Spec) -> list[Path]:
    """Files of versions that never were whole, and logs of transactions that never were closed."""
    return [*spec.place.path.parent.glob("*.wal"), *spec.place.path.parent.glob("copy/earned/versions/.*")]


def test_a_second_sync_is_refused_while_one_runs(spec: Spec) -> None:
    """It names the process that has the destination; once that has ended, however it did, the way is free."""
    words = ["-c", HOLD, spec.place.kind, str(spec.place.path)]
    with forked.Popen(words, stdout=forked.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(UsageError, match=rf"process {other.pid}\) is bringing .* up to date"),
            lock_destination(spec.place),
        ):
            raise AssertionError("two have it")
        other.kill()
    with lock_destination(spec.place) as workshop:
        assert workshop == spec.place.work_folder


def test_readers_of_the_folder_never_see_a_half_state(spec: Spec) -> None:
    """What a reader listed before a change it finds unchanged afterwards, or in no other content."""
    if spec.place.kind is not Kind.PARQUET:
        return
    put(spec, BEFORE, 1, 3)
    current = spec.place.path / "earned" / "current"
    listed = {path.name: path.read_bytes() for path in current.glob("*.parquet")}
    pinned = current.resolve()
    put(spec, AFTER, 2, 4)
    assert {path.name: path.read_bytes() for path in pinned.glob("*.parquet")} == listed
    for path in current.glob("*.parquet"):
        assert path.name not in listed or path.read_bytes() == listed[path.name]
    assert {path.name[:10] for path in current.glob("*.parquet")} == {str(day(1)), str(day(2)), str(day(4))}


def test_a_file_in_the_place_of_the_folder_is_refused_at_once(tmp_path: Path) -> None:
    """Nothing is asked for on its behalf."""
    (tmp_path / "copy").write_text("mine")
    place = Place(Kind.PARQUET, tmp_path / "copy")
    with pytest.raises(UsageError, match="is a file"):
        open_destination(place).state(spec_at(place))
