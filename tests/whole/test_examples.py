"""Every command's help has an example, and every example works: one service, one partner, one line after another."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import getitem

import pytest
from cyclopts import App

from reelport.cli.main import APP
from reelport.facts.layout import check_layout

from .desk import Desk
from .freezing import freeze_unlocked
from .partner import Partner
from .shell import Done

EXAMPLE = re.compile(r"^Example: (.*?) *$", re.MULTILINE)
RUN_ELSEWHERE = "reelport sandbox"
"""`test_sandbox.py` runs this line, and what it prints: to make a sample takes seconds."""


def commands(app: App = APP, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something by itself."""
    inner = [name for name in app if not name.startswith("-")]
    if app.default_command is not None:
        yield words
    for name in inner:
        yield from commands(app[name], (*words, name))


def test_every_command_has_an_example() -> None:
    """Its help begins a line with it."""
    told = {words: reduce(getitem, words, APP).default_command.__doc__ or "" for words in commands()}
    assert [" ".join(words) for words, text in told.items() if not re.search("^ *Example: ", text, re.MULTILINE)] == []


@pytest.mark.long
def test_every_example_in_the_help_works(desk: Desk) -> None:
    """Each ends with status 0, in the order of the commands, and says nothing of an error."""
    lacking, failed = [], {}
    for words in commands():
        examples = EXAMPLE.findall(desk.shell.run([*words, "--help"]).out)
        if not examples:
            lacking.append(" ".join(words))
        for line in examples:
            assert shlex.split(line.rpartition(" | ")[2])[1 : 1 + len(words)] == list(words), line
            if line == RUN_ELSEWHERE:
                continue
            with _prepared(desk, words):
                done = desk.run(line)
            if not _is_well(words, done):
                failed[line] = done
            else:
                desk.learn(words, done)
    assert not failed
    assert not lacking


def _is_well(words: tuple[str, ...], done: Done) -> bool:
    """Whether a command did what it is for: on a busy disk `doctor` finds that disk slow, and nothing else."""
    slow_disk = words == ("doctor",) and done.err.startswith("reelport: disk: Writing and syncing")
    return "Traceback" not in done.err and (done.status == 0 or (slow_disk and done.err.count("\n") == 1))


def _prepared(desk: Desk, words: tuple[str, ...]) -> AbstractContextManager[None]:
    """Bring about what a command needs that no example before it leaves."""
    match words:
        case ("queue", "cancel"):
            return _a_report_that_waits(desk)
        case ("restore",):
            (desk.folder / "restored").mkdir()
            shutil.copy(desk.service.data / "secret.key", desk.folder / "restored")
        case ("state", "copy"):
            check_layout(desk.folder / "copied")
            desk.known["postgresql://reelport@db.internal/reelport"] = "copied"
    return nullcontext()


@contextmanager
def _a_report_that_waits(desk: Desk) -> Iterator[None]:
    """Hold the workers where they are, and ask for a report: that is one to cancel."""
    workers = desk.service.worker_pids
    for pid in workers:
        freeze_unlocked(desk.service, pid)
    try:
        day = (datetime.now(UTC).date() - timedelta(days=3)).isoformat()
        desk.known["REPORT"] = Partner(desk.service, desk.service.key("demo")).ask(startDate=day, endDate=day)
        yield
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
