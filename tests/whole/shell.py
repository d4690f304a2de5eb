"""Runs command lines of `reelport` one after another in one process of its own, which pays for its imports once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Done:
    """What a command line came to."""

    status: int
    out: str
    err: str


class Shell:
    """A process in a folder, with an environment; give it words, as a shell would give them to the program."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, words: list[str], stdin: str = "", **environment: str | None) -> Done:
        """Run one command line to its end, with some variables set, or taken away by None, for this once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"words": words, "given": stdin, "environment": environment}) + "\n")
        self._process.stdin.flush()
        return Done(**json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(300)


@contextmanager
def _streams(given: str) -> Iterator[tuple[Any, Any]]:
    """Files in place of the process's own streams, down to their numbers."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source.write(given.encode())
        source.seek(0)
        kept = [os.dup(number) for number in range(3)]
        for number, file in enumerate((source, out, err)):
            os.dup2(file.fileno(), number)
        sys.stdin = os.fdopen(0, closefd=False)
        try:
            yield out, err
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(kept):
                os.dup2(copy, number)
                os.close(copy)


def _run(words: list[str], given: str, environment: dict[str, str | None]) -> dict[str, Any]:
    from reelport.cli.main import main  # noqa: PLC0415 - whoever only starts the process needs no command

    status: Any = None
    before = dict(os.environ)
    for name, value in environment.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    with _streams(given) as files:
        try:
            main(words)
        except SystemExit as end:
            status = end.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            said = []
            for file in files:
                file.seek(0)
                said.append(file.read().decode())
            os.environ.clear()
            os.environ.update(before)
    return {"status": status or 0, "out": said[0], "err": said[1]}


def _serve() -> None:
    asked, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    for line in asked:
        answers.write(json.dumps(_run(**json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
