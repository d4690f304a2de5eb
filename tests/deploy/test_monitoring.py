"""The alerts and the dashboard ask for what `/metrics` tells, and each alert has its section on the page."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cases import thin_out
from tests.deploy.programs import find_tool
from tests.fact_rows import make_plays
from tests.server.api import Api, api

from reelport.facts.loading.load import load_arrow
from reelport.server.files import retention
from reelport.server.queue import jobs
from reelport.wire import LOOK

__all__ = ["api"]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
PAGE = ROOT / "docs" / "operate" / "monitoring.md"
SELECTOR = re.compile(r"\b((?:reelport|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
OF_THE_SCRAPE = {"job", "instance"}

Series = dict[str, list[dict[str, str]]]


def rules() -> list[dict[str, Any]]:
    """The alerts, as they are written."""
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """What each panel shows, and the query behind it."""
    for panel in json.loads((DEPLOY / "grafana" / "reelport.json").read_text("utf-8"))["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel.get("targets", ()))


@pytest.fixture(scope="module")
def series(api: Api) -> Series:
    """The label sets that `/metrics` tells by name, of an API to which all has happened that the files ask for."""
    rows = make_plays([(f"2026-01-0{day}T05:00:00", 1) for day in (1, 2, 3)], owner_channel_id="c-demo")
    load_arrow(api.service.settings.facts_root, "plays", rows, "one")
    api.client.get(api.link(api.finished()))
    api.ask(**api.new())
    claim = jobs.claim(api.service.db, "worker", running=9, lease_seconds=60)
    assert claim is not None
    assert jobs.fail(api.service.db, claim, "It can't be made.", datetime.now(UTC))
    api.ask(**api.new())
    retention.sweep(api.service.db, api.service.settings, datetime(2100, 1, 1, tzinfo=UTC))
    token = api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    api.post(json.dumps({"query": LOOK, "variables": {"reportToken": token}}).encode(), Prefer="wait=1")
    api.graphql("{ nothing }")
    assert api.client.get("/health").status_code == 503
    found: Series = {}
    for name, labels in re.findall(r"^(\w+)(?:\{([^}]*)\})? \S+$", api.client.get("/metrics").text, re.MULTILINE):
        found.setdefault(name, []).append({label: value for label, _, value in MATCHER.findall(labels)})
    return found


def find_faults(expression: str, series: Series) -> Iterator[str]:
    """What an expression asks for that isn't there: a metric, a label, a value."""
    labels = set(OF_THE_SCRAPE)
    for name, matchers in SELECTOR.findall(expression):
        if name not in series:
            yield f"{name} is no metric"
            continue
        labels |= {label for one in series[name] for label in one}
        wanted = [found for found in MATCHER.findall(matchers) if found[0] not in OF_THE_SCRAPE]
        for each in wanted:
            if not any(suits(one, *each) for one in series[name]):
                yield f"{name} never has {''.join(each)}"
    for group in GROUPING.findall(expression):
        yield from (f"{label} is no label" for label in group.split(", ") if label not in labels)


def suits(labels: dict[str, str], label: str, operator: str, value: str) -> bool:
    """Whether a series suits a matcher; one without the label suits none."""
    if label not in labels:
        return False
    same = re.fullmatch(value, labels[label]) if "~" in operator else labels[label] == value
    return bool(same) != operator.startswith("!")


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("max(reelport_worker)", "reelport_worker is no metric"),
        ('reelport_jobs{state="idle"}', "never has"),
        ('reelport_jobs{status="waiting"}', "never has"),
        ("sum by (partner) (reelport_jobs)", "partner is no label"),
    ],
)
def test_a_wrong_name_is_found(expression: str, fault: str, series: Series) -> None:
    """The check itself sees metrics, labels and values that there aren't."""
    (found,) = find_faults(expression, series)
    assert fault in found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any], series: Series) -> None:
    """Else it would be silent for ever."""
    assert list(find_faults(rule["expr"], series)) == []


@pytest.mark.parametrize(("title", "query"), list(dashboard_queries()))
def test_a_panel_asks_for_what_there_is(title: str, query: str, series: Series) -> None:
    """Else it would be empty."""
    assert list(find_faults(query, series)) == [], title


def test_the_dashboard_shows_every_metric_of_the_service(series: Series) -> None:
    """What is counted is shown; of the process only what says something of it."""
    shown = {name for _, query in dashboard_queries() for name, _ in SELECTOR.findall(query)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series if name.startswith("reelport_")}
    assert {re.sub(r"_bucket$", "", name) for name in shown if name.startswith("reelport_")} == families


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    """Its name is the heading, to which the alert leads; each says what it means and what to do."""
    headings = re.findall(r"^### (\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/operate/monitoring.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.parametrize(
    "line",
    thin_out(
        [
            "check config --lint=all deploy/prometheus/prometheus.yml",
            "test rules tests/deploy/alerts_test.yml tests/deploy/slow_alerts_test.yml",
        ],
        2,
    ),
)
def test_promtool_agrees(line: str) -> None:
    """Prometheus' own tool reads the files, and each alert fires when it should, and not before."""
    command = [find_tool("promtool", "promtool"), *line.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
