"""Schemathesis over the whole API: requests drawn from its description, and what it finds in the answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import settings

from reelport.wire import LOOK

from .conftest import ASK, INPUT, Wire, token_of

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
