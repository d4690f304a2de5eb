"""Where a request's CPU time goes: the functions that take it, for a token, a look or an ask.

    .venv/bin/python benchmarks/hot_spots.py look
    .venv/bin/python benchmarks/hot_spots.py ask --sort tottime --lines 60

The parts of the API are called in this process, without HTTP: `benchmarks/costs.py` measures the whole of it.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.costs import questions
from reelport.server.access import callers, grants, keys, organizations
from reelport.server.access.callers import REPORT_SCOPES, Caller
from reelport.server.access.grants import ClientCredentials, Grant
from reelport.server.app import build_service
from reelport.server.http.graphql_over_http import parse_and_execute
from reelport.server.settings import read_settings
from reelport.server.state.database import connect
from reelport.wire import ASK, LOOK

_WARM = 50


def calls(data: Path) -> Mapping[str, Callable[[], object]]:
    """What the service does for each kind of request, over a state of its own in that folder."""
    settings = read_settings(data=data, workers=0, waiting_limit=1_000_000)
    db = connect(settings)
    service = build_service(settings, db)
    partner = organizations.add_organization(db, "one", datetime.now(UTC))
    organizations.allow_channels(db, partner.id, ["c1"])
    key = keys.create_key(db, service.service_secret, "one", REPORT_SCOPES, datetime.now(UTC))
    fresh = questions()

    def grant() -> str:
        granted = grants.grant_token(
            db, service.service_secret, ClientCredentials(key.id, key.secret), (), datetime.now(UTC)
        )
        if not isinstance(granted, Grant):
            raise TypeError(granted)
        return granted.token

    token = grant()

    def caller() -> Caller:
        found = callers.identify_caller(db, service.service_secret, token, datetime.now(UTC))
        if found is None:
            raise TypeError(token)
        return found

    def send(document: str, variables: Mapping[str, object]) -> str:
        body = json.dumps({"query": document, "variables": variables}).encode()
        return json.dumps(parse_and_execute(service, caller(), body, "http://here")[0])

    def ask() -> str:
        return send(ASK, {"input": next(fresh).to_wire()})

    report = json.loads(ask())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    return {"token": grant, "look": lambda: send(LOOK, {"reportToken": report}), "ask": ask}


def main() -> None:
    """Profile, and print the functions that take the most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["token", "look", "ask"])
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--sort", default="cumtime")
    parser.add_argument("--lines", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelport-") as folder:
        call = calls(Path(folder))[given.kind]
        for _ in range(_WARM):
            call()
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(given.times):
            call()
        profile.disable()
    pstats.Stats(profile).sort_stats(given.sort).print_stats(given.lines)


if __name__ == "__main__":
    main()
