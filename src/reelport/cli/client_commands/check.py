"""`reelport check`: try the address, the key, its permissions and the clock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reelport.catalog import Scope
from reelport.cli.arguments.options import Insecure, Profile, Url
from reelport.cli.output.listing import PrintJson, print_json, print_list
from reelport.client.events import KeyExpires
from reelport.client.settings.config import Settings
from reelport.client.settings.profiles import (
    InForce,
    build_settings,
    find_in_force,
)
from reelport.errors import AccessError, ReelportError, ServiceError, Unreachable, UsageError
from reelport.local_path import is_loopback
from reelport.wording import format_duration

if TYPE_CHECKING:
    from reelport.client.flows.auth import Probe

_SILENCE = 4.0  # seconds without a byte after which a request of a try is given up
_TRIED_SECONDS = 9.0  # that a try of a key takes at most
_SAME = 2.0  # clocks that differ by fewer seconds count as equal: the service's time has whole seconds
_SKEW = 60.0  # seconds by which clocks may differ: tokens are renewed that long before they expire


class Verdict(StrEnum):
    """Results of one check."""

    WELL = "well"
    UNSAID = "unsaid"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. Only the verdict WRONG means that reports can't be fetched."""

    subject: str
    verdict: Verdict
    sentence: str


def check(*, url: Url = None, profile: Profile = None, insecure: Insecure = False, json: PrintJson = False) -> None:
    """Check address, key, permissions, service and clock in ten seconds; asks for no report.

    Example: reelport check

    The exit status is 0 when reports can be asked for, 4 when the key is refused, 1 when nobody answers.
    """
    found = find_in_force(os.environ, profile=profile, url=url, insecure=insecure)
    failure: ReelportError | None = None
    try:
        findings = list(_findings(found, try_key(partial(build_settings, found), found["url"])))
    except ReelportError as error:
        findings, failure = [], error
    if found.missing or not isinstance(failure, UsageError):  # A wrong setting says nothing about the address.
        findings.insert(0, _address(found, failure))
    if any(each.verdict is Verdict.WRONG for each in findings) and failure is None:
        failure = AccessError("This key may not ask for reports: have its permissions changed, or use another.")
    _print_findings(found, findings, failure, as_json=json)
    if failure is not None:
        raise failure


def try_key(read: Callable[[], Settings], host: str) -> Probe:
    """Try the key of the settings. Unreachable after nine seconds, whatever the network does."""
    done: Future[Probe] = Future()

    def probe() -> None:
        from reelport.client.client import Client

        try:
            with Client(settings=replace(read(), timeout=_SILENCE), ledger=False) as client:
                probed = client.probe()
            done.set_result(probed)
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that waits
            done.set_exception(error)

    threading.Thread(target=probe, daemon=True).start()
    try:
        return done.result(_TRIED_SECONDS)
    except TimeoutError:
        raise Unreachable(f"{host} gave no answer within {_TRIED_SECONDS:.0f} seconds.") from None


def _address(found: InForce, failure: ReelportError | None) -> Finding:
    url = found["url"]
    if isinstance(failure, ServiceError):
        return Finding("address", Verdict.WRONG, url)
    if found.missing:
        return Finding("address", Verdict.UNSAID, f"{url}; not called without a key")
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return Finding("address", Verdict.WARNING, f"{url} is not encrypted: the key travels in clear. Use https.")
    return Finding("address", Verdict.WELL, url)


def _findings(found: InForce, probe: Probe) -> Iterator[Finding]:
    key = f"{found['kind']} key {found['key']}".strip() if found["kind"] != "bearer" else "bearer token"
    life = "" if probe.token_seconds is None else f"; its token is good for {probe.token_seconds / 60:.0f} minutes"
    yield Finding("key", Verdict.WELL, f"{key}, accepted{life}")
    if probe.key_expires is not None:
        yield Finding("expiry", Verdict.WARNING, str(KeyExpires(probe.key_expires)))
    yield _scopes(probe.scopes)
    if probe.version is not None:
        known = f"Reelport {probe.version}: each query is checked against all rules before it is sent"
        yield Finding("service", Verdict.WELL, known)
    else:
        unknown = "not a Reelport service: for unknown names and combinations, the client warns and sends the query"
        yield Finding("service", Verdict.UNSAID, unknown)
    yield _clock(probe.skew)


def _scopes(scopes: tuple[str, ...] | None) -> Finding:
    if scopes is None:
        return Finding("scopes", Verdict.UNSAID, "the service doesn't say what the key is allowed to do")
    lacking = [scope for scope in (Scope.ACCESS_ADS, Scope.ACCESS_REVENUE) if scope not in scopes]
    may = ", ".join(scopes) or "none"
    if not {Scope.CREATE_REPORTS, Scope.MANAGE_REPORTS} & set(scopes):
        return Finding("scopes", Verdict.WRONG, f"{may}: asking for reports needs {Scope.CREATE_REPORTS}")
    without = " and ".join(f"{scope} ({scope.sentence.removesuffix('.').lower()})" for scope in lacking)
    return Finding("scopes", Verdict.WELL, f"{may}{f'; without {without}' if without else ''}")


def _clock(skew: float | None) -> Finding:
    if skew is None:
        return Finding("clock", Verdict.UNSAID, "the service doesn't say what time it is")
    if abs(skew) < _SAME:
        return Finding("clock", Verdict.WELL, "the same as the service's")
    if abs(skew) < _SKEW:
        return Finding("clock", Verdict.WELL, _format_offset(skew))
    advice = "set it right, or days begin and tokens end at the wrong time"
    return Finding("clock", Verdict.WARNING, f"{_format_offset(skew)}: {advice}")


def _format_offset(skew: float) -> str:
    days = round(abs(skew) / 86400)
    offset = f"{days} days" if days > 1 else format_duration(abs(skew))
    return f"{offset} {'behind' if skew > 0 else 'ahead of'} the service's"


def _print_findings(found: InForce, findings: list[Finding], failure: ReelportError | None, *, as_json: bool) -> None:
    if as_json:
        error = failure and {"code": failure.code, "sentence": str(failure)}
        checked = [asdict(each) for each in findings]
        print_json({"url": found["url"], "well": failure is None, "findings": checked, "error": error})
        return
    if findings:
        rows = [{"verdict": each.verdict, "subject": each.subject, "finding": each.sentence} for each in findings]
        print_list(rows, as_json=False)
