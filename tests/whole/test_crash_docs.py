"""Pages of recipes: their commands run as written, and what the page on crashes shows is what happens."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from tests.forked import command_folder
from tests.warm_service import Service

from reelport.testing import Vendor

from .terminal import bare, on_terminal, piped, surroundings

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "survive-a-crash.md"

WIDTH = 120
"""Of a terminal that has room for the columns that the page shows."""

pytestmark = pytest.mark.long


def read_prompt(number: int) -> tuple[list[list[str]], str]:
    """The commands of one of the page's prompts, each as the words behind `reelport`, and all that it shows."""
    text = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)[number]
    return [shlex.split(line) for line in re.findall(r"^\$ reelport (.+)$", text, re.MULTILINE)], text


def test_a_wait_that_is_interrupted_ends_as_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same last lines and status; the same command again takes the report up, and leaves the file."""
    (words,), text = read_prompt(0)
    monkeypatch.chdir(tmp_path)
    with Vendor(makes_in=3600) as vendor:
        here = surroundings(vendor.url, vendor.key, vendor.secret, REELPORT_HOME=str(tmp_path / "home"))
        status, drawn = on_terminal(here, *words, keys=(0.2, b"\x03"), at="IN_PROGRESS", columns=300)
        said, _, number = text.partition("^C\n")[2].partition("$ echo $?\n")
        assert (bare(drawn)[-2:], f"{status}\n") == (said.splitlines(), number)
        vendor.makes_in = 0
        assert piped(here, *words).status == 0
        assert len(vendor.asks) == 1
    assert (tmp_path / "october.csv").is_file()


def test_an_ask_of_which_nobody_knows_is_listed_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page shows it: the list has its columns, and what is forgotten is asked for at once."""
    ((words,), _), ((listing, forgetting), text) = read_prompt(0), read_prompt(1)
    monkeypatch.chdir(tmp_path)
    with Vendor(loses_ask="after") as vendor:
        here = surroundings(vendor.url, vendor.key, vendor.secret, REELPORT_HOME=str(tmp_path / "home"))
        assert piped(here, *words).status == 6
        header, line = bare(on_terminal(here, *listing, columns=WIDTH)[1])
        assert header.split() == text.splitlines()[1].split()
        assert re.search(r"^1 +unknown +until \d\d:\d\d UTC .* 2026-10-01\.\.2026-10-31 VIEWS by DAY$", line)
        assert piped(here, *(line.split()[0] if word == "3" else word for word in forgetting)).status == 0
        assert piped(here, *words).status == 0
        assert len(vendor.asks) == 2


HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"^    ((?:reelport|mkdir) .*)$", re.MULTILINE)
TYPED = "--password-stdin <<< 'correct horse battery'"
PLAYS = "'2023-07-0{}T05:00:00Z' AS started_at, 'v' AS video_id, 'c-17' AS owner_channel_id, 'video' AS media_type"
EARNINGS = {"day": "2023-07-02", "video_id": "v", "owner_channel_id": "c-17", "payee_channel_id": "c-17"}


@dataclass(frozen=True)
class Desk:
    """An operator's folder, with the command on the path and a data directory in it."""

    folder: Path

    @property
    def data(self) -> Path:
        """The data directory of commands that name none."""
        return self.folder / "data"

    def run(self, line: str) -> str:
        """Run a line of a shell; give what it printed."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
        own["REELPORT_HOME"] = os.environ["REELPORT_HOME"]
        path = os.pathsep.join((str(command_folder()), str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = own | {"PATH": path, "REELPORT_DATA": str(self.data)}
        done = subprocess.run(
            ["/bin/bash", "-eu", "-o", "pipefail", "-c", line],
            env=environment, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def make_key(self) -> str:
        """Make an organization `acme` with a channel and a key; give the key's id."""
        self.run("reelport org add acme && reelport channel add --org acme --id c-17 --slug acme-sports --name Acme")
        created = self.run("reelport key create --org acme --permissions create_reports,read_reports --json")
        return str(json.loads(created)["id"])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty folder."""
    return Desk(tmp_path)


def commands(name: str, changes: Mapping[str, str]) -> list[str]:
    """The commands of a page in their order, with what stands for somebody's own put in its place.

    Each of these has to be there. A line with `…` is a form, and no command.
    """
    text = (HOW_TO / f"{name}.md").read_text("utf-8")
    lines = [*INDENTED.findall(text), *(line for block in BLOCK.findall(text) for line in block.splitlines())]
    assert [part for part in changes if not any(part in line for line in lines)] == []
    for part, own in changes.items():
        lines = [line.replace(part, own) for line in lines]
    return [line for line in lines if "…" not in line]


def test_keys_are_made_rotated_and_revoked(desk: Desk) -> None:
    """All of the page, for one key."""
    lines = commands("keys", {" KEY": f" {desk.make_key()}"})
    assert len(lines) == 7
    for line in lines:
        desk.run(line)
    marks = {each["name"]: each["revoked"] for each in json.loads(desk.run("reelport key list --json"))}
    assert marks["Nightly export"] is None
    assert [name for name, revoked in marks.items() if revoked] != []


def test_access_is_given_and_taken_back(desk: Desk) -> None:
    """Passwords come by standard input, for there is no terminal; `org remove` is told that it is meant."""
    (desk.folder / "channels.csv").write_text("id,slug,name\nc-18,acme-news,Acme News\n", "utf-8")
    changes = {" KEY": " $key", "--role owner": f"--role owner {TYPED}"}
    changes |= {
        "--email olga@platform.example": f"--email olga@platform.example {TYPED}",
        "org remove acme": "org remove acme --yes",
    }
    changes |= {"user password ann@acme.example": f"user password ann@acme.example {TYPED}"}
    for line in commands("manage-access", changes):
        keys = json.loads(desk.run("reelport key list --json")) if "$key" in line else [{"id": ""}]
        desk.run(line.replace("$key", shlex.quote(keys[0]["id"])))
    assert "acme" not in desk.run("reelport org list")


def test_a_sample_is_made(desk: Desk) -> None:
    """The page's one command."""
    (line,) = commands("sample-facts", {"200000": "2000"})
    assert "plays" in desk.run(line)


def test_facts_are_loaded_replaced_and_taken_back(desk: Desk) -> None:
    """Files as the page names them; the batch that is taken back was loaded, and `undo` is told that it is meant."""
    for day in (1, 2):
        plays = f"SELECT {PLAYS.format(day)}, {day} AS views, 1 AS time_watched_seconds"
        duckdb.sql(f"COPY ({plays}) TO '{desk.folder}/2023-07-0{day}.parquet'")
    (desk.folder / "channels.csv").write_text("id,slug\nc-17,acme-sports\n", "utf-8")
    earned = [EARNINGS | {"eur": "1.5", "usd": "1.7"}, EARNINGS | {"eur": "2.5", "usd": "2.7"}]
    (desk.folder / "july.ndjson.gz").write_bytes(gzip.compress(json.dumps(earned[0]).encode()))
    final = "\n".join((",".join(earned[1]), ",".join(earned[1].values())))
    (desk.folder / "july-final.csv").write_text(final, "utf-8")
    header = "started_at,video_id,owner_channel_id,media_type,views,time_watched_seconds\n"
    (desk.folder / "header.csv").write_text(header, "utf-8")
    for line in commands("load-facts", {"681139221e54": "$batch --yes"}):
        loads = json.loads(desk.run("reelport load list --json")) if "$batch" in line else []
        desk.run(line.replace("$batch", str(loads[0]["batch"]) if loads else ""))


def test_partitions_become_one_file(desk: Desk) -> None:
    """By the page's one block of a shell: the columns of the folders are texts in it."""
    folder = desk.folder / "export" / "day=2026-10-02" / "country=007"
    folder.mkdir(parents=True)
    duckdb.sql(f"COPY (SELECT 5 AS views) TO '{folder}/part-0.parquet'")
    (line,) = BLOCK.findall((HOW_TO / "map-your-export.md").read_text("utf-8"))
    desk.run(line)
    made = duckdb.sql(f"SELECT country, CAST(day AS VARCHAR), views FROM '{desk.folder}/export.parquet'")
    assert made is not None
    (row,) = made.fetchall()
    assert row == ("007", "2026-10-02", 5)


def test_an_export_is_mapped_loaded_and_asked_for(desk: Desk) -> None:
    """The rows that the page shows and some a day later: its commands in their order, then its report."""
    text = (HOW_TO / "map-your-export.md").read_text("utf-8")
    rows = re.findall(r"^    ((?:video_id,|\w{11},17\.).*)$", text, re.MULTILINE)
    vox = ["A,17.14.11,t,Vox,1,1:1,5,1,1", "A,17.15.11,t,Vox,1,1:1,12,1,1"]
    for name in ("us-2017.csv", "export.csv"):
        (desk.folder / name).write_text("\n".join([*rows, *vox]) + "\n", "utf-8")
    for name in ("channels", "videos", "plays"):
        (desk.folder / f"{name}.sql").symlink_to(HOW_TO / "trending" / f"{name}.sql")
    *lines, report = [line for line in commands("map-your-export", {}) if line.startswith("reelport")]
    said = [desk.run(f"{line} --json" if " key create " in line else line) for line in lines]
    assert (desk.folder / "plays.map.sql").is_file()
    key = json.loads(said[-1])
    with Service(desk.data) as service:
        set_up = f"export REELPORT_URL={service.url} REELPORT_API_KEY={key['id']} REELPORT_API_SECRET={key['secret']}"
        assert desk.run(f"{set_up}; {report}") == "day,video_title,views\n2017-11-15,t,7\n"
