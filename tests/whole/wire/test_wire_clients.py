"""Programs written for Dailymotion, a client made from the schema, and Schemathesis, each against a real service."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import settings
from tests.npm_programs import HOME, link_packages

from reelport.testing import Service
from reelport.wire import LOOK

from .clients import Checker, Nightly
from .conftest import ASK, INPUT, Wire, token_of

DATES = {"startDate": "2026-01-02", "endDate": "2026-01-03"}


def test_the_careful_client_gets_its_files(service: Service) -> None:
    """Old sample's form, whole input, fixed rhythm, links only at the end."""
    key = service.key("demo")
    client = Checker(service.url, key.id, key.secret, rhythm=0.05)
    given = {"metrics": ["VIEWS", "NB_IMPRESSION"], "dimensions": ["DAY", "VIDEO_ID"], "product": "ALL", **DATES}
    (file,) = client.report(given)
    header, *rows = file.splitlines()
    assert header == "day,video_id,views,nb_impression"
    assert rows
    assert {row[:10] for row in rows} == {"2026-01-02", "2026-01-03"}


def test_the_careful_client_sees_a_refusal(service: Service) -> None:
    """The first error's message says what to change."""
    key = service.key("demo")
    client = Checker(service.url, key.id, key.secret, rhythm=0.05)
    with pytest.raises(RuntimeError, match=r"Did you mean VIEWS\?"):
        client.report({"metrics": ["VIEWZ"], "dimensions": ["DAY"], **DATES})


def test_the_nightly_client_gets_all_its_reports(service: Service) -> None:
    """Aliases on both sides, one poll for three tokens, earnings by manage_reports alone."""
    key = service.key("demo")
    client = Nightly(service.url, key.id, key.secret)
    assert client.refresh is None
    views, earnings, hours = client.reports(
        {"metrics": ["VIEWS", "VIEW_THROUGH_RATE"], "dimensions": ["DAY", "VIDEO_ID", "MEDIA_TYPE"], **DATES},
        {"metrics": ["ESTIMATED_EARNINGS_EUR"], "dimensions": ["DAY", "VIDEO_ID", "VISITOR_PAGE_URL"], **DATES},
        {"metrics": ["VIEWS"], "dimensions": ["HOUR"], **DATES},
    )
    assert views[0].keys() == {"day", "video_id", "media_type", "views", "view_through_rate"}
    assert earnings[0].keys() == {"day", "video_id", "visitor_page_url", "estimated_earnings_eur"}
    per_day: Counter[str] = Counter()
    for row in views:
        per_day[row["day"]] += int(row["views"])
    per_day_of_hours: Counter[str] = Counter()
    for row in hours:
        per_day_of_hours[row["hour"][:10]] += int(row["views"])
    assert per_day == per_day_of_hours
    assert {date.fromisoformat(day) for day in per_day} == {date(2026, 1, 2), date(2026, 1, 3)}


def test_no_secret_of_these_tests_is_in_the_services_log(service: Service) -> None:
    """Whatever ran before: no token, no secret, no signature stands in what the processes wrote."""
    key = service.key("demo")
    client = Checker(service.url, key.id, key.secret, rhythm=0.05)
    client.report({"metrics": ["VIEWS"], "dimensions": [], **DATES})
    log = service.log
    assert "/oauth/v1/token" in log
    for mark in (key.secret, client.token, "rps_", "rpt_", "rpr_", "signature=", "Bearer r"):
        assert mark not in log


PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "generate-a-client.md").read_text("utf-8")
FILES = re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
INSTALLED = set(
    re.findall(
        r" ((?:@[\w-]+/)?[a-z][\w-]+)(?:@\d+)?(?= |$)",
        "\n".join(re.findall(r"^npm install(.*)$", PAGE, re.MULTILINE)),
        re.MULTILINE,
    )
)
(COMMANDS,) = re.findall(r"^```sh test=generate\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.long
@pytest.mark.nightly
def test_a_generated_client_is_sound_and_speaks_with_the_service(wire: Wire, tmp_path: Path) -> None:
    """Both generators take the descriptions, the program is sound and asks for a report; a wrong metric is no metric.

    The type checker looks at both programs at once: it fails where the line of the wrong metric has no error.
    """
    locked = json.loads((HOME / "package.json").read_text("utf-8"))["dependencies"] if HOME.is_dir() else {}
    link_packages(tmp_path)
    assert set(locked) >= INSTALLED
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    for name, text in FILES:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    program, expected = (tmp_path / "src" / "report.ts").read_text("utf-8"), "// @ts-expect-error\n"
    mistaken = re.sub(r"^(?=.*'VIEWS')", expected, program, flags=re.MULTILINE).replace("'VIEWS'", "'VIEWZ'")
    assert mistaken.count(expected) == 1
    (tmp_path / "src" / "mistaken.ts").write_text(mistaken, "utf-8")
    environment = {"REELPORT_URL": wire.service.url, "REELPORT_TOKEN": wire.fresh()}
    words = ["/usr/bin/env", *(f"{name}={value}" for name, value in environment.items()), "bash", "-e", "-c"]
    words.append(COMMANDS.replace(" src/report.ts", " src/report.ts src/mistaken.ts"))
    done = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] in {"queued", "running", "finished"}


CONFIG = """
# A text need not be a document of GraphQL, a form not have the secret of a key, a file not be so long.
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "416", "429"]

# Who opens the host's own address is told with 404 what is where.
[[operations]]
include-name = "POST /"
checks.unsupported_method.enabled = false

[[operations]]
include-name = "GET /v1/reports/{{report_id}}"
parameters = {{ report_id = {token} }}

# What is broken in a link is put right by the parameters here, and what is added to it is ignored.
[[operations]]
include-path-regex = "^/files/"
checks.negative_data_rejection.enabled = false
parameters = {{ file_id = {file}, key = {key}, expires = {expires}, signature = {signature} }}
"""


@pytest.mark.long
def test_schemathesis_finds_nothing(wire: Wire, tmp_path: Path) -> None:
    """No answer of a kind that isn't described, no error of the service, no request taken that can't be right."""
    token = token_of(wire.graphql(ASK, {"input": INPUT}))
    link = urlsplit(link_of(wire, token))
    query = {name: values[0] for name, values in parse_qs(link.query).items()}
    known = {"token": token, "file": Path(link.path).stem, **query}
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(**{name: json.dumps(value) for name, value in known.items()}), "utf-8")
    words = ["--config-file", str(config), "--no-color", "run", f"{wire.service.url}/openapi.json"]
    # GraphQL's errors have a status only for clients that name its media type.
    headers = {"Authorization": f"Bearer {wire.fresh()}", "Accept": "application/graphql-response+json, */*;q=0.9"}
    words += [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]
    words += ["--max-examples", str(max(settings().max_examples // 3, 8)), "--generation-deterministic"]
    words += ["--warnings", "missing_auth,missing_test_data"]
    program = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run([program, *words], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout, done.stdout


def link_of(wire: Wire, token: str) -> str:
    """The link of a report, once it is finished."""
    until = time.monotonic() + 300
    while True:
        report = wire.graphql(LOOK, {"reportToken": token})["data"]["partner"]["reportFile"]
        if report["status"] == "FINISHED":
            link: str = report["downloadLinks"]["edges"][0]["node"]["link"]
            return link
        assert time.monotonic() < until, wire.service.log
        time.sleep(0.02)
