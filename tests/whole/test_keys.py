"""Keys on the command line: kept, found, tried, shown without their secrets, forgotten."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.patience import until

from reelport.client.settings.profile_file import read_profiles

from .desk import BIN, Desk
from .shell import Done
from .terminal import bare, on_terminal

DRAWERS = Path(__file__).parents[1] / "client" / "settings"
NULL = "keyring.backends.null.Keyring"
HIDDEN = "hush-7c41-hush-93af"
BARE: dict[str, str | None] = dict.fromkeys(("REELPORT_URL", "REELPORT_API_KEY", "REELPORT_API_SECRET"))


@dataclass
class Sitter:
    """Somebody with a home of their own and nothing in the environment but a keyring."""

    desk: Desk
    home: Path
    keyring: str = NULL

    def run(self, line: str, given: str = "", **environment: str | None) -> Done:
        """What a command comes to."""
        own = {
            "REELPORT_HOME": str(self.home),
            "PYTHON_KEYRING_BACKEND": self.keyring,
            "DRAWER": str(self.home.with_suffix(".drawer")),
        }
        return self.desk.shell.run(line.split(), given, **BARE | own | environment)

    def says(self, line: str, **environment: str | None) -> Any:  # noqa: ANN401 - JSON enters
        """What a command prints as JSON."""
        return json.loads(self.run(f"{line} --json", "", **environment).out)

    def files(self) -> str:
        """All that lies in the home, as one text."""
        return "\n".join(path.read_text() for path in sorted(self.home.rglob("*")) if path.is_file())


@pytest.fixture
def sitter(desk: Desk, tmp_path: Path) -> Sitter:
    return Sitter(desk, tmp_path / "home")


def key_of(desk: Desk) -> tuple[str, str, str]:
    """Address, id and secret of the partner's key."""
    return desk.service.url, desk.environment["KEY"], desk.environment["SECRET"]


def sources(status: dict[str, Any]) -> dict[str, str]:
    """Where each part of a key comes from."""
    return {row["setting"]: row["source"] for row in status["settings"]}


def test_without_a_keyring_nothing_is_kept_unless_a_file_is_asked_for(sitter: Sitter) -> None:
    """The error is status 4, names the ways that are left, and leaves no file; `--store file` keeps it, mode 0600."""
    url, key, secret = key_of(sitter.desk)
    refused = sitter.run(f"auth login --key {key} --url {url}", secret)
    assert refused.status == 4
    assert all(way in refused.err for way in ("REELPORT_API_SECRET", "reelport[keyring]", "--store file"))
    assert not sitter.home.exists()
    done = sitter.run(f"auth login --key {key} --url {url} --store file", secret)
    assert done.status == 0
    assert (sitter.home / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert secret not in (sitter.home / "config.toml").read_text()
    assert sitter.run("check").status == 0
    assert sources(sitter.says("auth status"))["secret"] == f"file ({sitter.home}/secrets.json)"


def test_a_keyring_keeps_the_secret_and_no_file_does(sitter: Sitter) -> None:
    """It is found there by the profile alone, and is gone after logout."""
    url, key, secret = key_of(sitter.desk)
    sitter.keyring = "keyrings.Drawer"
    assert sitter.run(f"auth login --key {key} --url {url} --profile staging", secret).status == 0
    assert secret not in sitter.files()
    status = sitter.says("auth status --profile staging")
    assert status["whole"]
    assert "keyring (keyrings Drawer)" in sources(status).values()
    assert sitter.run("check --profile staging").status == 0
    assert sitter.run("report submit --metrics VIEWS --start 3d --end 2d --profile staging").status == 0
    gone = sitter.run("auth logout --profile staging")
    assert "removed from keyring (keyrings Drawer)" in gone.err
    assert sitter.run("auth status --profile staging").status == 4
    assert secret not in sitter.home.with_suffix(".drawer").read_text()


@pytest.mark.parametrize(
    ("keyring", "status", "says"),
    [
        ("keyrings.Sieve", 4, "doesn't give it back"),
        ("keyrings.Locked", 4, "no one unlocked it"),
        ("keyring.backends.fail.Keyring", 4, "--store file"),
        ("nowhere.Ring", 2, "PYTHON_KEYRING_BACKEND"),
    ],
)
def test_a_keyring_that_keeps_nothing_is_said_so(sitter: Sitter, keyring: str, status: int, says: str) -> None:
    """Nobody is told that a secret is safe which isn't there afterwards; nothing goes into a file instead."""
    sitter.keyring = keyring
    done = sitter.run("auth login --key k --url https://u.example --offline", HIDDEN)
    assert done.status == status
    assert says in done.err
    assert HIDDEN not in done.out + done.err + (sitter.files() if sitter.home.exists() else "")


def test_a_key_that_is_refused_is_not_kept(sitter: Sitter) -> None:
    """Login tries it first; `--offline` doesn't."""
    url, key, _ = key_of(sitter.desk)
    refused = sitter.run(f"auth login --key {key} --url {url} --store file", HIDDEN)
    assert refused.status == 4
    assert "Nothing was kept" in refused.err
    assert not sitter.home.exists()
    nobody = sitter.run(f"auth login --key {key} --url http://127.0.0.1:9 --store file", HIDDEN)
    assert nobody.status == 1
    assert "--offline" in nobody.err
    assert sitter.run(f"auth login --key {key} --url {url} --store file --offline", HIDDEN).status == 0


@pytest.mark.parametrize(
    "line", ["--key " + "k" * 5000, "--key k\x07", "--profile a/b --key k", "--url ftp://u.example --key k"]
)
def test_what_can_be_no_key_is_refused(sitter: Sitter, line: str) -> None:
    """Status 2, in a sentence, and nothing is kept."""
    done = sitter.run(f"auth login --store file --offline {line}", HIDDEN)
    assert done.status == 2
    assert not list(sitter.home.glob("*.*"))


@pytest.mark.parametrize("given", ["", "\n", "   \n"])
def test_no_secret_is_no_login(sitter: Sitter, given: str) -> None:
    """An empty stdin is said to be one."""
    done = sitter.run("auth login --key k --store file --offline", given)
    assert done.status == 2
    assert "No secret was given" in done.err
    assert sitter.run("auth login --store file --offline", HIDDEN).err.count("--key") == 1


def test_a_public_key_has_two_secrets(sitter: Sitter) -> None:
    """Secret and password are two lines of stdin, kept apart."""
    line = "auth login --kind public --key k --username me@example.org --store file --offline"
    assert sitter.run(line, f"{HIDDEN}\npass-{HIDDEN}\n").status == 0
    status = sitter.says("auth status")
    assert status["whole"]
    assert {row["setting"] for row in status["settings"]} >= {"username", "secret", "password"}
    assert f"pass-{HIDDEN}" in (sitter.home / "secrets.json").read_text()


def test_no_command_shows_a_secret(sitter: Sitter) -> None:
    """Not the ones that tell of keys, in no form, with the secret in the environment or in the file."""
    sitter.run("auth login --key k --url https://u.example --store file --offline", HIDDEN)
    for environment in ({}, {"REELPORT_API_SECRET": HIDDEN, "HTTPS_PROXY": f"http://me:{HIDDEN}@proxy.example:3128"}):
        for line in ("auth status", "auth status --json"):
            done = sitter.run(line, **environment)
            assert done.status == 0, done
            assert HIDDEN not in done.out + done.err
    assert (
        "http://…@proxy.example:3128"
        in sitter.run("auth status", HTTPS_PROXY=f"http://me:{HIDDEN}@proxy.example:3128").out
    )


def test_what_is_in_force_is_shown_with_its_source(sitter: Sitter) -> None:
    """A variable by its name, a profile by its file, the rest as a default."""
    sitter.run("auth login --key k --url https://u.example --store file --offline", HIDDEN)
    shown = {row["setting"]: row for row in sitter.says("auth status", REELPORT_SLOTS="1")["settings"]}
    assert (shown["slots"]["value"], shown["slots"]["source"]) == ("1", "REELPORT_SLOTS")
    assert shown["url"]["source"] == f"{sitter.home}/config.toml [profiles.default]"
    assert shown["window_days"]["source"] == "default"
    assert shown["secret"]["value"] == "set"


def test_a_loose_file_of_secrets_stops_every_command(sitter: Sitter) -> None:
    """With the command that puts it right, and status 4."""
    url, key, secret = key_of(sitter.desk)
    sitter.run(f"auth login --key {key} --url {url} --store file", secret)
    (sitter.home / "secrets.json").chmod(0o644)
    for line in ("auth status", "check", "report submit --metrics VIEWS --start 3d --end 2d"):
        done = sitter.run(line)
        assert done.status == 4
        assert "chmod 600" in done.err
        assert secret not in done.out + done.err


def test_check_tells_what_is_wrong_by_its_exit_status(sitter: Sitter) -> None:
    """0 for a key that may ask, 4 for one that may not or isn't known, 1 where nobody answers; never a report."""
    url, key, secret = key_of(sitter.desk)
    whole = {"REELPORT_URL": url, "REELPORT_API_KEY": key, "REELPORT_API_SECRET": secret}
    reports = len(sitter.desk.shell.run(["queue", "list", "--all"]).out.splitlines())
    assert sitter.run("check", **whole).status == 0
    found = sitter.says("check", **whole)
    assert [each["subject"] for each in found["findings"]] == ["address", "key", "scopes", "service", "clock"]
    assert found["well"]
    reader = sitter.desk.service.key("demo", ["read_reports"])
    less = whole | {"REELPORT_API_KEY": reader.id, "REELPORT_API_SECRET": reader.secret}
    assert sitter.run("check", **less).status == 4
    assert "needs create_reports" in sitter.run("check", **less).out
    wrong = sitter.run("check", **whole | {"REELPORT_API_SECRET": HIDDEN})
    assert (wrong.status, HIDDEN in wrong.out + wrong.err) == (4, False)
    assert sitter.run("check", **whole | {"REELPORT_URL": "http://127.0.0.1:9"}).status == 1
    assert sitter.says("check", **whole | {"REELPORT_URL": "http://127.0.0.1:9"})["error"]["code"] == "unreachable"
    assert sitter.run("check").status == 4
    assert len(sitter.desk.shell.run(["queue", "list", "--all"]).out.splitlines()) == reports


def test_check_tells_that_a_key_expires_soon(sitter: Sitter) -> None:
    """It is a warning beside the rest, and the exit status stays 0: the key works until then."""
    words = "key create --org demo --permissions create_reports --expires 9 --json"
    made = json.loads(sitter.desk.shell.run(words.split()).out)
    key = {"REELPORT_URL": sitter.desk.service.url, "REELPORT_API_KEY": made["id"]}
    done = sitter.run("check", **key, REELPORT_API_SECRET=made["secret"])
    told = [line for line in done.out.splitlines() if "expiry" in line]
    assert (done.status, len(told)) == (0, 1)
    assert told[0].startswith("warning\texpiry\tThe API key expires on ")


@pytest.mark.parametrize(
    ("typed", "status", "says"),
    [(f"{HIDDEN}\n".encode(), 0, "kept in file"), (b"\x04", 2, "No secret was given"), (b"\x03", 130, "interrupted")],
)
def test_a_secret_is_typed_unseen(sitter: Sitter, typed: bytes, status: int, says: str) -> None:
    """On a terminal it is asked for and not shown; Ctrl-D and Ctrl-C end it, and nothing is kept."""
    environment = sitter.desk.environment | {"REELPORT_HOME": str(sitter.home)}
    words = ["auth", "login", "--key", "k", "--url", "https://u.example", "--store", "file", "--offline"]
    ended, drawn = on_terminal(environment, *words, keys=(0.2, typed), at="Secret (not shown):")
    assert ended == status, drawn
    assert "Secret (not shown):" in drawn
    assert says in drawn
    assert HIDDEN not in drawn
    assert (sitter.home / "secrets.json").exists() == (status == 0)


def test_tables_of_a_key_fit_a_terminal(sitter: Sitter) -> None:
    """80 columns show every value whole, on as many lines as it takes."""
    environment = sitter.desk.environment | {"REELPORT_HOME": str(sitter.home)}
    for words in (("auth", "status"), ("check",)):
        status, drawn = on_terminal(environment, *words)
        assert status == 0
        lines = bare(drawn)
        assert max(map(len, lines)) <= 80
        assert "…" not in drawn
        assert environment["SECRET"] not in drawn


@pytest.mark.long
def test_the_page_of_profiles_and_keys_runs_as_written(sitter: Sitter) -> None:
    """Every block of its commands ends well, in order, in a home of its own; its file of a project is one."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "profiles-and-keys.md").read_text("utf-8")
    url, key, secret = key_of(sitter.desk)
    environment = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHON_KEYRING_BACKEND": NULL,
        "HOME": str(sitter.home.parent),
        "URL": url,
        "KEY": key,
        "SECRET": secret,
        "PASSWORD": HIDDEN,
    }
    blocks = re.findall(r"^```(sh|toml)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 8
    for language, block in blocks:
        if language == "toml":
            (sitter.home.parent / "reelport.toml").write_text(block)
            assert read_profiles(sitter.home.parent / "reelport.toml", alone=False).profiles.keys() == {"team"}
            (sitter.home.parent / "reelport.toml").unlink()
            continue
        done = run_block(block, environment, sitter.home.parent)
        assert done.returncode == 0, done.stderr
        assert secret not in done.stdout + done.stderr


def run_block(block: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the commands of a block, and again while the service has no time: checks give up after ten seconds."""
    words = ["/bin/bash", "-euo", "pipefail", "-c", block]
    tries: list[subprocess.CompletedProcess[str]] = []

    def is_answered() -> bool:
        tries.append(subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False))
        return "gave no answer within" not in tries[-1].stderr

    assert until(is_answered)
    return tries[-1]
