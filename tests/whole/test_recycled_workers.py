"""Workers that are replaced by new ones between reports, in a real service."""

from __future__ import annotations

import urllib.request
from datetime import date

import pytest
from tests.patience import until
from tests.warm_service import Service

from reelport.testing import Channel

from .partner import Partner


def count_recycled(service: Service, reason: str) -> float:
    """How many workers were replaced for this reason."""
    with urllib.request.urlopen(f"{service.url}/metrics", timeout=300) as reply:
        lines = reply.read().decode().splitlines()
    name = f'reelport_workers_recycled_total{{reason="{reason}"}} '
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.long
def test_a_worker_is_replaced_after_its_reports_and_none_waits_or_is_lost() -> None:
    """Every report is made, by one worker after the other; each goes once the next is ready, and none is a death."""
    with Service(worker_reports=2, worker_rest_memory="0GB") as service:
        service.organization("demo", [Channel("c1", "recycled")])
        service.sample(date(2026, 1, 1), date(2026, 1, 9), rows=1000)
        partner = Partner(service, service.key("demo"))
        (first,) = service.worker_pids
        tokens = [partner.ask(endDate=f"2026-01-0{day}") for day in range(2, 8)]
        for token in tokens:
            assert partner.fetch(token).startswith(b"day,views")
        assert until(lambda: count_recycled(service, "reports") >= 1)
        assert until(lambda: len(service.worker_pids) == 1 and first not in service.worker_pids)
        assert partner.fetch(partner.ask(endDate="2026-01-08")).startswith(b"day,views")
        log = service.log
    assert '"worker replaced"' in log
    assert "worker ended" not in log
    assert "queued again" not in log
    assert "attempt interrupted" not in log
    assert log.index('"worker started"', log.index("asks to be replaced")) < log.index('"worker stopped"')
    assert count_starts(log) >= 2


def count_starts(log: str) -> int:
    """How many workers have started."""
    return log.count('"worker started"')
