"""The programs that Studio's page of a new report shows, run as they are shown, against a real service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html import unescape
from pathlib import Path

import httpx2
import pytest
from tests import quick_users
from tests.patience import PATIENCE
from tests.server.studio.visitor import PASSWORD, find_forms
from tests.warm_service import Service

from reelport.query import ReportQuery
from reelport.server.state.database import connected
from reelport.server.studio import report_form

pytestmark = pytest.mark.long

EMAIL = "ann@demo.example"
FILE = "views-and-estimated-earnings-eur-by-day-video-and-video-title_demo-news_2026-07-01_2026-07-04.csv"
VIEW = "metric=VIEWS&metric=ESTIMATED_EARNINGS_EUR&by=VIDEO_ID&from=2026-07-01&to=2026-07-04&channelSlug=demo-news"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service with sample facts and one user."""
    with Service() as service:
        service.sample(date(2026, 7, 1), date(2026, 7, 10), rows=2_000)
        with connected(service.settings) as db:
            quick_users.add_user(db, "demo", EMAIL, "owner", PASSWORD, datetime.now(UTC))
        yield service


def send(client: httpx2.Client, page: httpx2.Response, action: str, **values: str) -> httpx2.Response:
    """Send a form of a page."""
    form = next(form for form in find_forms(page.text) if form.action == action and form.method == "post")
    fields: dict[str, list[str]] = {}
    for name, value in form.fields:
        fields.setdefault(name, []).append(value)
    return client.post(action, data={**fields, **values})


def test_each_program_writes_the_bytes_of_the_report(service: Service, tmp_path: Path) -> None:
    """What curl, Python and the command write is what the page's own button downloads."""
    key = service.key("demo")
    with httpx2.Client(base_url=service.url, follow_redirects=True, timeout=PATIENCE) as client:
        send(client, client.get("/studio/sign-in"), "/studio/sign-in", email=EMAIL, password=PASSWORD)
        page = client.get(f"/studio/reports/new?{VIEW}")
        report = send(client, page, "/studio/reports")
        while "Download CSV" not in report.text:
            assert "data-again" in report.text
            report = client.get(report.url)
        expected = send(client, report, f"{report.url.path}/download").content
    assert expected.startswith(b"day,video_id,video_title,views,estimated_earnings_eur\n2026-07-01,")
    programs = dict(re.findall(r'<pre id="([a-z]+)-text"[^>]*>(.*?)</pre>', page.text, re.DOTALL))
    assert list(programs) == ["reelport", "python", "curl"]
    runners = {"curl": ["sh", "-c"], "python": [sys.executable, "-c"], "reelport": ["sh", "-c"]}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
    for name, text in programs.items():
        folder = tmp_path / name
        folder.mkdir()
        secrets = {"REELPORT_API_KEY": key.id, "REELPORT_API_SECRET": key.secret, "HOME": str(folder), "PATH": path}
        done = subprocess.run(
            [*runners[name], unescape(text)],
            env=kept | secrets,
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, (name, done.stderr)
        (file,) = folder.glob("*.csv")
        assert (file.name, file.read_bytes()) == (FILE, expected), name


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_program_for_curl_says_what_a_wrong_secret_is_answered(service: Service, tmp_path: Path) -> None:
    """What the service says of the key; not that a later request had no token."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 7, 1), date(2026, 7, 2))
    curl = report_form.write_programs(query, service.url)["curl"]
    wrong = {"REELPORT_API_KEY": service.key("demo").id, "REELPORT_API_SECRET": "wrong"}
    run = ["sh", "-c", curl]
    done = subprocess.run(run, env=os.environ | wrong, cwd=tmp_path, capture_output=True, check=False, timeout=300)
    assert done.returncode == 1
    assert b"invalid_client" in done.stderr
    assert b"bearer" not in done.stderr
    assert not list(tmp_path.iterdir())
