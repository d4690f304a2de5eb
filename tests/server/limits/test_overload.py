"""What callers may take: slots of downloads, bytes of bodies. Whoever takes more hurts itself alone."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from typing import Any, cast

import pytest
from starlette.requests import Request

from reelport.server.limits.body_budget import BodyBudget
from reelport.server.limits.download_slots import DownloadSlots, Limit, NoFreeSlot, RunningDownload
from reelport.server.limits.rate_limits import TokenBuckets, hash_owner


class Upload:
    """A request whose body comes as a test lets it."""

    def __init__(self, **headers: str) -> None:
        self.headers = headers
        self._parts: asyncio.Queue[bytes] = asyncio.Queue()

    def send(self, part: bytes) -> None:
        """Let some more come; the empty part is the end."""
        self._parts.put_nowait(part)

    async def stream(self) -> AsyncIterator[bytes]:
        """What has come."""
        while part := await self._parts.get():
            yield part


class Caller:
    """Sends one body into a budget."""

    def __init__(self, budget: BodyBudget, owner: str, *, keeping: bool = False) -> None:
        self.upload = Upload()
        self.task = asyncio.create_task(self._run(budget, owner, keeping=keeping))

    async def send(self, *parts: bytes) -> None:
        """Let parts come, and have them read."""
        for part in parts:
            self.upload.send(part)
        for _ in range(10):
            await asyncio.sleep(0)

    async def _run(self, budget: BodyBudget, owner: str, *, keeping: bool) -> bytes | None:
        with budget.hold(owner) as pending:
            body = await pending.read(cast("Request", self.upload), 100)
            if keeping:
                pending.protect()
                await asyncio.Event().wait()
            return body
        return b"dropped"


def run(scene: Callable[[BodyBudget], Any], total: int = 100, share: int = 40) -> None:
    """Play a scene over a budget, in which nothing must be left when all is answered."""

    async def played() -> None:
        budget = BodyBudget(total, share)
        await scene(budget)
        assert budget.bytes == 0

    asyncio.run(played())


def test_the_oldest_half_body_of_an_owner_gives_way_to_its_next_one() -> None:
    """Beyond the share of its owner; what comes at once is always taken, though half bodies of the owner wait."""

    async def scene(budget: BodyBudget) -> None:
        half = [Caller(budget, "one") for _ in range(4)]
        for each in half:
            await each.send(b"x" * 15)
        assert [each.task.done() for each in half] == [True, True, False, False]
        quick = Caller(budget, "one")
        await quick.send(b"y" * 20, b"")
        assert await quick.task == b"y" * 20
        for each in half[3:]:
            await each.send(b"")
        assert [await each.task for each in half[:2]] == [b"dropped"] * 2
        assert await half[3].task == b"x" * 15
        assert await half[2].task == b"dropped"

    run(scene)


def test_beyond_the_total_the_owner_with_the_most_gives_way() -> None:
    """And no other one, however late it comes."""

    async def scene(budget: BodyBudget) -> None:
        greedy = [Caller(budget, "greedy") for _ in range(4)]
        for each in greedy:
            await each.send(b"x" * 10)
        others = [Caller(budget, name) for name in ("a", "b", "c")]
        for each in others:
            await each.send(b"y" * 25)
        for each in (*greedy, *others):
            await each.send(b"")
        assert [await each.task for each in others] == [b"y" * 25] * 3
        assert [await each.task for each in greedy] == [b"dropped", b"dropped", b"x" * 10, b"x" * 10]

    run(scene)


def test_a_body_that_is_worked_on_stays() -> None:
    """Where nothing may be dropped the newest body is."""

    async def scene(budget: BodyBudget) -> None:
        working = Caller(budget, "one", keeping=True)
        await working.send(b"x" * 30, b"")
        late = Caller(budget, "one")
        await late.send(b"y" * 20, b"")
        assert await late.task == b"dropped"
        assert not working.task.done()
        working.task.cancel()
        await asyncio.wait([working.task])

    run(scene)


def test_a_body_that_is_too_long_is_told_so_at_once() -> None:
    """None for it as soon as it is too long, or says that it will be: nothing more of it is waited for."""

    async def scene(budget: BodyBudget) -> None:
        long = Caller(budget, "one")
        await long.send(b"x" * 30, b"x" * 80)
        assert await long.task is None
        with budget.hold("one") as pending:
            announced = Upload(**{"content-length": "99999999999999"})
            assert await pending.read(cast("Request", announced), 100) is None

    run(scene)


class Downloads:
    """Downloads by links that are good for 900 seconds, with a clock of their own."""

    def __init__(self, **limits: int) -> None:
        self.now = 0.0
        self.slots = DownloadSlots(lambda: self.now, **limits)
        self.held = ExitStack()

    def begin(self, report: str, partner: int) -> RunningDownload:
        """Begin one, which lasts; raises Crowded."""
        with ExitStack() as held:
            running = held.enter_context(self.slots.hold(report, 900))
            self.slots.count_for_partner(running, partner)
            self.held.push(held.pop_all())
        return running

    def refused(self, report: str, partner: int) -> Limit:
        """Which limit keeps one from beginning."""
        with pytest.raises(NoFreeSlot) as crowded:
            self.begin(report, partner)
        return crowded.value.limit

    def take(self, seconds: int, rates: Mapping[RunningDownload, int]) -> None:
        """Let time pass, in which readers take so many bytes a second."""
        for _ in range(seconds):
            self.now += 1
            for running, rate in rates.items():
                running.count(rate)


def test_downloads_are_counted_by_report_and_by_partner() -> None:
    """Beyond either limit there is none; one that has ended makes room."""
    some = Downloads(report_downloads=2, partner_downloads=3)
    with some.held:
        some.begin("r", 1)
        some.begin("r", 1)
        assert some.refused("r", 1) is Limit.REPORT
        some.begin("s", 1)
        assert some.refused("t", 1) is Limit.PARTNER
        some.begin("u", 2)
        assert len(some.slots) == 4
    assert len(some.slots) == 0
    some.begin("r", 1)


@pytest.mark.parametrize("limit", ["report_downloads", "partner_downloads"])
def test_the_slowest_download_of_a_link_that_is_over_makes_room(limit: str) -> None:
    """However fast it is, and only one for each that begins; nobody has to go while there is room."""
    some = Downloads(**{limit: 3})
    fast, slow = some.begin("r", 1), some.begin("r", 1)
    some.take(899, {fast: 90_000, slow: 50_000})
    late = some.begin("r", 1)
    assert some.refused("r", 1)
    some.take(2, {fast: 90_000, slow: 50_000, late: 1000})
    assert not slow.ended
    some.begin("r", 1)
    assert (slow.ended, fast.ended, late.ended) == (True, False, False)
    some.begin("r", 1)
    assert (fast.ended, late.ended) == (True, False)
    assert some.refused("r", 1)
    some.held.close()
    assert len(some.slots) == 0


def test_a_reader_that_takes_too_little_makes_room_and_one_that_took_much_before_as_well() -> None:
    """By what was taken in the last minutes; a download that has just begun isn't judged yet."""
    some = Downloads(report_downloads=3)
    honest, burst, idle = (some.begin("r", 1) for _ in range(3))
    burst.count(1_000_000_000)
    some.take(110, {honest: 11_000, burst: 10})
    assert some.refused("r", 1)
    some.take(300, {honest: 11_000, burst: 10})
    begun = some.begin("r", 1)
    assert (idle.ended, burst.ended) == (True, False)
    some.begin("r", 1)
    assert burst.ended
    assert some.refused("r", 1)
    assert not honest.ended
    assert not begun.ended


def test_a_key_has_a_sixth_of_its_grants_at_once_and_the_rest_in_a_minute() -> None:
    """Beyond them it is told when to come again, which other keys don't feel, nor a key whose id another one uses."""
    now = 0.0
    rate = TokenBuckets(60, 10, lambda: now)
    mine, other = hash_owner("key", "secret"), hash_owner("key", "wrong")
    assert [rate.take(mine) for _ in range(10)] == [0] * 10
    assert rate.take(mine) == pytest.approx(1)
    assert rate.take(other) == 0
    now = 1.5
    assert rate.take(mine) == 0
    assert rate.take(mine) == pytest.approx(0.5)
    now = 1000
    assert [rate.take(mine) > 0 for _ in range(11)] == [False] * 10 + [True]


def test_keys_that_nobody_has_fill_no_memory() -> None:
    """Whoever guesses secrets leaves a trace only as long as it counts."""
    now = 0.0
    rate = TokenBuckets(600, 100, lambda: now)
    for number in range(30_000):
        now += 0.01
        rate.take(hash_owner("key", str(number)))
    assert len(rate) <= 10_001


FRAGMENTED = """
import ctypes
from pathlib import Path
from reelport.server.resources import release_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
library.mallopt(-3, 1 << 26)
holes = [library.malloc(64) for _ in range(20_000)]  # fill free blocks: those below shall lie between the large ones
large = []
for _ in range(1000):
    large.append(library.malloc(65536))
    ctypes.memset(ctypes.c_void_p(large[-1]), 1, 65536)
    library.malloc(64)
taken = resident()
for each in large:
    library.free(each)
kept = resident()
assert release_memory()
print(taken - kept, kept - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library can't be told to")
def test_memory_that_was_freed_between_other_things_is_given_back() -> None:
    """64 MB of it, which the C library would keep."""
    ended = subprocess.run([sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True)
    by_itself, at_once = map(int, ended.stdout.split())
    assert by_itself < 8_000_000
    assert at_once > 48_000_000
