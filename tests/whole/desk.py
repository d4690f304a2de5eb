"""A partner's and a platform's desk at once: a service with sample facts, and a shell to type at."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from tests.patience import free_port

from reelport.testing import Service

from .shell import Done, Shell

ENDLESS = ("serve", "worker", "sandbox")
"""Commands that run until they are stopped."""

AT_WORK = re.compile(r'"event": "(listening|worker started)"|^Ctrl-C ends it\.$', re.MULTILINE)

BIN = Path(sys.executable).parent


@dataclass
class Desk:
    """A partner's and a platform's desk at once: the service, a shell, and what the lines so far have printed."""

    service: Service
    shell: Shell
    folder: Path
    environment: dict[str, str]
    known: dict[str, str] = field(default_factory=dict)

    def run(self, line: str) -> Done:
        """Run a line as it stands in the help, with what its words in capitals stand for."""
        before, _, command = line.rpartition(" | ")
        given = subprocess.check_output(["/bin/sh", "-c", before], env=self.environment, text=True) if before else ""
        words = [Template(word).safe_substitute(self.environment) for word in shlex.split(command)]
        words = [self.known.get(word, word) for word in words]
        assert words[0] == "reelport"
        if words[1] in ENDLESS:
            return self._start(words)
        return self.shell.run(words[1:], given)

    def learn(self, words: tuple[str, ...], done: Done) -> None:
        """Keep what later lines need."""
        found = {
            ("report", "submit"): ("TOKEN", r"(\S+)"),
            ("load",): ("BATCH", r"batch (\w+)"),
            ("queue", "list"): ("REPORT", r"\n(\S+)"),
            ("key", "create"): ("KEY", r"id +(\S+)"),
        }.get(words)
        if found is not None:
            match = re.search(found[1], done.out)
            assert match is not None, done
            self.known[found[0]] = match[1]

    def _start(self, words: list[str]) -> Done:
        """Run an endless command until it says that it is at work, and stop it as a service is stopped."""
        words = [str(free_port()) if word == "8642" else word for word in words]
        environment = self.environment | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            words, cwd=self.folder, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            said = ""
            while not AT_WORK.search(said) and (line := process.stdout.readline()):
                said += line
            process.send_signal(signal.SIGTERM)
            said += process.communicate(timeout=300)[0]
        return Done(process.returncode, said, "")
