"""Ten people explore at once while two long reports are made, over ten million rows.

    .venv/bin/python benchmarks/explore.py
    .venv/bin/python benchmarks/explore.py --seconds 120 --pause 0 --set explore_slots=2
    .venv/bin/python benchmarks/explore.py --rollups

Each person is of an organization of its own, which reads the channel that has a third of all rows. A view is new each
time: other days, other metrics or leaderboards, with a comparison or without one. A view's time goes from the first
byte of its request to the last of its page; then the person looks at it for a while (`--pause`).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx2

from benchmarks.crowd import LONG, Times, api_pids, cpu, keep_busy, questions
from benchmarks.facts import BIG_CHANNEL, DAYS, START, Facts
from benchmarks.machine import load
from benchmarks.measure import percentile
from benchmarks.view_rollups import build
from reelport.server.access import organizations, users
from reelport.server.state.database import connect
from reelport.testing import Key, Service

GOAL = 0.3
_PASSWORD = "a long enough password"  # noqa: S105 - of a service that lives as long as this measurement
_METRICS = (("VIEWS",), ("VIEWS", "TIME_WATCHED_SECONDS"), ("VIEWS", "AVERAGE_WATCH_TIME_SEC"))
_BOARDS = ("VIDEO_ID", "VISITOR_COUNTRY", "VISITOR_DEVICE_TYPE", "ACTION", "VIDEO_OWNER_CHANNEL_SLUG")
_LENGTHS, _SHARES = (7, 28, 90), (3, 5, 2)


def views(seed: int) -> Iterator[tuple[str, str]]:
    """Views, hardly any of them twice: of how many days, and the address."""
    pick = random.Random(seed)  # noqa: S311 - the same walk in every run
    while True:
        (days,) = pick.choices(_LENGTHS, _SHARES)
        start = START + timedelta(pick.randrange(DAYS - days))
        pairs = [("metric", metric) for metric in pick.choice(_METRICS)]
        pairs += [("by", board) for board in pick.sample(_BOARDS, 2)]
        pairs += [("from", str(start)), ("to", str(start + timedelta(days - 1)))]
        is_compared = pick.random() < 0.3  # noqa: PLR2004 - about one view in three
        pairs += [("compare", "previous")] if is_compared else []
        kind = f"{days} days{', compared' if is_compared else ''}"
        yield kind, f"/studio/explore?{urlencode(pairs)}"


async def explore(service: Service, email: str, seed: int, times: Times, pause: float, until: float) -> None:
    """Sign in, and look at one view after the other."""
    async with httpx2.AsyncClient(base_url=service.url, timeout=120, follow_redirects=True) as client:
        page = (await client.get("/studio/sign-in")).text
        token = re.findall(r'name="csrf" value="([^"]*)"', page)[0]
        await client.post("/studio/sign-in", data={"csrf": token, "email": email, "password": _PASSWORD})
        await asyncio.sleep(seed / 10)
        for kind, address in views(seed):
            if time.monotonic() > until:
                return
            began = time.perf_counter()
            answer = await client.get(address)
            times.note("view", began)
            times.note(f"view of {kind}", began)
            if answer.status_code != 200 or "costs more than a page may" in answer.text:  # noqa: PLR2004 - HTTP's OK
                times.refused[f"{answer.status_code}"] += 1
            await asyncio.sleep(pause * 2 * random.random())  # noqa: S311 - so that people don't click in step


def people(service: Service, number: int) -> tuple[list[str], list[Key]]:
    """So many people, each of an organization of its own, and the keys of two more for the long reports."""
    db, names = connect(service.settings), count()
    try:

        def organization() -> str:
            added = organizations.add_organization(db, f"partner-{next(names)}", datetime.now(UTC))
            organizations.allow_channels(db, added.id, [BIG_CHANNEL])
            return added.name

        emails = [f"person-{each}@example.com" for each in range(number)]
        for email in emails:
            users.add_user(db, organization(), email, "analyst", _PASSWORD, datetime.now(UTC))
        return emails, [service.key(organization()), service.key(organization())]
    finally:
        db.dispose()


async def run(service: Service, emails: list[str], long: list[Key], seconds: float, pause: float) -> Times:
    """All of them for so many seconds."""
    times, until = Times(), time.monotonic() + seconds
    fresh = questions(LONG, 180)
    async with asyncio.TaskGroup() as tasks:
        for key in long:
            tasks.create_task(keep_busy(service, key, times, fresh, until))
        for number, email in enumerate(emails):
            tasks.create_task(explore(service, email, number, times, pause, until))
    return times


def tell(times: Times, took: float, served: float, made: float) -> None:
    """Print what was measured."""
    found = times.of["view"]
    for kind in sorted(kind for kind in times.of if kind.startswith("view")):
        spread = ", ".join(f"p{share * 100:.0f} {percentile(times.of[kind], share):.3f}" for share in (0.5, 0.95, 0.99))
        print(f"{kind}: {spread} s of {len(times.of[kind])}")
    print(f"at most {GOAL} s at p95: {'yes' if percentile(found, 0.95) <= GOAL else 'NO'}")
    print(f"{served / len(found) * 1000:.0f} ms of the API's CPU a view; {len(times.of['long report'])} long reports")
    print(f"{served / took:.2f} cores for the API, {made / took:.2f} for the worker; load averages {load()}")
    if times.refused:
        print(f"not whole: {dict(times.refused)}")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds that a person looks at a view, on average")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of plays")
    parser.add_argument("--rollups", action="store_true", help="with the rollups of benchmarks/view_rollups.py")
    parser.add_argument("--idle", action="store_true", help="without the long reports")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the service")
    given = parser.parse_args()
    facts = Facts(given.rows)
    facts.ready()
    settings: dict[str, Any] = {"rollups": "on" if given.rollups else "off"}
    settings |= dict(each.split("=", 1) for each in given.set)
    if given.rollups:
        build(facts.data / "facts")
    facts.forget_state()
    with Service(facts.data, log_level="warning", **settings) as service:
        emails, long = people(service, given.people)
        api, workers = api_pids(service), list(service.worker_pids)
        began, served, made = time.monotonic(), cpu(api), cpu(workers)
        times = asyncio.run(run(service, emails, [] if given.idle else long, given.seconds, given.pause))
        tell(times, time.monotonic() - began, cpu(api) - served, cpu(workers) - made)


if __name__ == "__main__":
    main()
