"""A platform's own export, mapped by the how-to's SQL: from its CSV to a partner's report over the wire."""

from __future__ import annotations

import csv
import io
import os
import re
import time
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import httpx2
import pyarrow.parquet as pq
import pytest
from tests.warm_service import Service

from reelport.cli.main import main
from reelport.facts.loading.load import load
from reelport.facts.log.snapshot import pin
from reelport.testing import Channel

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
MAPPINGS = HOW_TO / "trending"
TABLES = ("channels", "videos", "plays")
MINE = ("Vox", "NBA", "Lame Videos", "Chris Lee", "TheEllenShow")
"""Channels of the partner: one whose videos share a title, and two that a video moved to."""


def listed() -> Path:
    """The data set: where REELPORT_TRENDING says, else beside the checkout."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / "trending" / "us-2017.csv"
    return Path(os.environ.get("REELPORT_TRENDING", beside))


@pytest.fixture(scope="module")
def export() -> Path:
    if not listed().is_file():
        pytest.skip(f"the data set of trending videos is not there: {listed()} (REELPORT_TRENDING may name another)")
    return listed()


@pytest.fixture(scope="module")
def service(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has the export by the very commands of the how-to."""
    data = tmp_path_factory.mktemp("trending") / "data"
    for table in TABLES:
        words = ("load", table, str(export), "--map", str(MAPPINGS / f"{table}.sql"), "--strict", "--data", str(data))
        with pytest.raises(SystemExit, match="0"):
            main(list(words))
    with Service(data) as running:
        known = {channel.name: channel for channel in channels(running.settings.facts_root)}
        running.organization("explainers", [known[name] for name in MINE])
        yield running


def channels(root: Path) -> list[Channel]:
    files = pin(root, ["channels"]).files("channels")
    rows = [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]
    return [Channel(row["id"], row["slug"], row["name"], row["account_id"]) for row in rows]


def expected(export: Path) -> list[tuple[str, str, int]]:
    """Day, title and views of the partner's videos straight from the CSV: each day less the listed day before."""
    days: dict[str, dict[date, dict[str, str]]] = {}
    with export.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            year, day, month = (int(part) for part in row["trending_date"].split("."))
            days.setdefault(row["video_id"], {})[date(2000 + year, month, day)] = row
    views: dict[tuple[str, str], int] = {}
    for of_video in days.values():
        last = of_video[max(of_video)]
        if last["channel_title"] not in MINE:
            continue
        ordered = sorted(of_video)
        for before, after in pairwise(ordered):
            cell = (after.isoformat(), last["title"])
            views[cell] = views.get(cell, 0) + int(of_video[after]["views"]) - int(of_video[before]["views"])
    rows = [(day, title, count) for (day, title), count in views.items()]
    return sorted(rows, key=lambda row: (row[0], row[1].encode()))


def report(service: Service, key_id: str, secret: str, ask: Mapping[str, object]) -> list[list[str]]:
    """The rows of a finished report, header first, as a partner's own program gets them."""
    credentials = {"grant_type": "client_credentials", "client_id": key_id, "client_secret": secret}
    with httpx2.Client(base_url=service.url, timeout=300) as http:
        token = http.post("/oauth/v1/token", data={**credentials, "scope": "create_reports read_reports"}).json()
        headers = {"Authorization": f"Bearer {token['access_token']}"}

        def answer(document: str, **variables: object) -> dict[str, dict[str, dict[str, object]]]:
            reply = http.post("/graphql", json={"query": document, "variables": variables}, headers=headers).json()
            assert "errors" not in reply, reply
            found: dict[str, dict[str, dict[str, object]]] = reply["data"]
            return found

        asked = answer(
            "mutation ($input: AskPartnerReportFileInput!) {"
            " askPartnerReportFile(input: $input) { reportFile { reportToken } } }",
            input=ask,
        )
        report_token = asked["askPartnerReportFile"]["reportFile"]["reportToken"]
        until = time.monotonic() + 300
        while time.monotonic() < until:
            looked = answer(
                "query ($token: String!) { partner { reportFile(reportToken: $token) {"
                " status downloadLinks { edges { node { link } } } } } }",
                token=report_token,
            )["partner"]["reportFile"]
            if looked["status"] != "IN_PROGRESS":
                break
            time.sleep(0.1)
        assert looked["status"] == "FINISHED"
        (link,) = re.findall(r"http[^'\"]+", str(looked["downloadLinks"]))
        return list(csv.reader(io.StringIO(http.get(link).content.decode("utf-8"))))


def test_a_partner_gets_the_differences_of_its_own_videos(service: Service, export: Path) -> None:
    """VIEWS by DAY and VIDEO_TITLE over the wire equal the differences computed by hand on the raw CSV."""
    key = service.key("explainers", ("create_reports", "read_reports"))
    header, *rows = report(
        service,
        key.id,
        key.secret,
        {
            "metrics": ["VIEWS"],
            "dimensions": ["DAY", "VIDEO_TITLE"],
            "startDate": "2017-11-14",
            "endDate": "2017-12-09",
            "product": "CONTENT",
        },
    )
    assert header == ["day", "video_title", "views"]
    by_hand = expected(export)
    assert [(day, title, int(views)) for day, title, views in rows] == by_hand
    assert {title for _, title, _ in by_hand} >= {"NBA Bloopers - The Starters"}
    assert any(title.startswith("VR Fail: ") for _, title, _ in by_hand)


def test_the_whole_list_is_loaded_once(service: Service, export: Path) -> None:
    """The list's 754 names, 1260 videos and 3738 differences are there, and the same file again adds none."""
    root = service.settings.facts_root
    counts = {
        table: sum(pq.read_metadata(file).num_rows for file in pin(root, [table]).files(table)) for table in TABLES
    }
    assert counts == {"channels": 754, "videos": 1260, "plays": 3738}
    assert load(root, "plays", [export], mapping=MAPPINGS / "plays.sql").already


HEADER = "video_id,trending_date,title,channel_title,category_id,publish_time,views,likes,comment_count"


def written(folder: Path, *rows: str) -> Path:
    file = folder / "export.csv"
    file.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    return file


def mapped(folder: Path, table: str, file: Path) -> list[dict[str, object]]:
    load(folder / "facts", table, [file], mapping=MAPPINGS / f"{table}.sql", rejects=folder / "rejects.csv")
    files = pin(folder / "facts", [table]).files(table)
    return [row for found in files for row in pq.read_table(found, partitioning=None).to_pylist()]


def plays(folder: Path, file: Path) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for row in mapped(folder, "plays", file):
        moment, views = row["started_at"], row["views"]
        assert isinstance(moment, datetime)
        assert isinstance(views, int)
        found.append((moment.date().isoformat(), views))
    return sorted(found)


def test_gaps_fall_on_the_later_day(tmp_path: Path) -> None:
    """A video's first listed day is left out, and days that the list skipped count on the day after them."""
    file = written(
        tmp_path, "A,17.14.11,t,c,1,1:1,100,1,1", "A,17.01.12,t,c,1,1:1,250,1,1", "A,17.15.11,t,c,1,1:1,130,1,1"
    )
    assert plays(tmp_path, file) == [("2017-11-15", 30), ("2017-12-01", 120)]


def test_the_latest_title_and_channel_win(tmp_path: Path) -> None:
    """A video that changed has its last title, and all of its plays belong to its last channel."""
    file = written(tmp_path, 'A,17.15.11,"new, ""better""",B c,1,1:1,7,1,1', "A,17.14.11,old,Ä c,1,1:1,5,1,1")
    (video,) = mapped(tmp_path, "videos", file)
    known = {row["name"]: row for row in mapped(tmp_path, "channels", file)}
    (play,) = mapped(tmp_path, "plays", file)
    assert video["title"] == 'new, "better"'
    assert video["owner_channel_id"] == play["owner_channel_id"] == known["B c"]["id"]
    assert str(known["Ä c"]["slug"]).startswith("a-c-")


def test_names_of_any_script_get_slugs_of_their_own(tmp_path: Path) -> None:
    """Names that are spelled alike, or leave nothing to spell, get different slugs."""
    names = ("Chris Lee", "chris lee", "원더케이", "מהשטח", "!")
    rows = [f"{number},17.14.11,t,{name},1,1:1,5,1,1" for number, name in enumerate(names)]
    slugs = [str(row["slug"]) for row in mapped(tmp_path, "channels", written(tmp_path, *rows))]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]+", slug) for slug in slugs)


def test_a_count_that_sank_is_refused_by_itself(tmp_path: Path) -> None:
    """A negative difference goes to the reject file with its reason; the other days are loaded."""
    rows = [f"A,17.{14 + number}.11,t,c,1,1:1,{views},1,1" for number, views in enumerate((100, 90, 95))]
    assert plays(tmp_path, written(tmp_path, *rows)) == [("2017-11-16", 5)]
    assert "-10" in (tmp_path / "rejects.csv").read_text("utf-8")


@pytest.mark.parametrize("table", TABLES)
def test_the_how_to_shows_the_mappings_as_they_are(table: str) -> None:
    """The page quotes each mapping whole, and links to it."""
    page = (HOW_TO / "map-your-export.md").read_text("utf-8")
    assert f"```sql\n{(MAPPINGS / f'{table}.sql').read_text('utf-8')}```" in page
    assert f"(trending/{table}.sql)" in page
