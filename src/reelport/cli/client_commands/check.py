"""`reelport check`: test address, key, permissions and clock. Asks for no report."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from reelport.catalog import Scope
from reelport.cli.arguments.options import Insecure, Profile, Url
from reelport.cli.output.listing import PrintJson, print_json, print_list
from reelport.errors import AccessError, ReelportError, ServiceError, Unreachable, UsageError
from reelport.local_path import is_loopback
from reelport.wording import format_duration

if TYPE_CHECKING:
    from reelport.client.flows.operation import Probe
    from reelport.client.settings.profiles import InForce

T = TypeVar("T")

_SILENCE = 4.0  # timeout of a request, in seconds without a byte
_ALL = 9.0  # seconds that the whole check takes at most
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
    from reelport.client.settings.profiles import find_in_force

    found = find_in_force(os.environ, profile=profile, url=url, insecure=insecure)
    failure: ReelportError | None = None
    try:
        findings = list(_findings(found, run_with_timeout(_ALL, lambda: _probe(found), found["url"])))
    except ReelportError as error:
        findings, failure = [], error
    if found.missing or not isinstance(failure, UsageError):  # A wrong setting says nothing about the address.
        findings.insert(0, _address(found, failure))
    if any(each.verdict is Verdict.WRONG for each in findings) and failure is None:
        failure = AccessError("This key may not ask for reports: have its permissions changed, or use another.")
    _print_findings(found, findings, failure, as_json=json)
    if failure is not None:
        raise failure


def run_with_timeout(seconds: float, task: Callable[[], T], host: str) -> T:
    """Run a task in a thread: its result or its error, or Unreachable after `seconds`."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(task())
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise Unreachable(f"{host} gave no answer within {seconds:.0f} seconds.")
    return done[0]


def _probe(found: InForce) -> Probe:
    from reelport.client.client import Client
    from reelport.client.settings.profiles import build_settings

    settings = replace(build_settings(found), timeout=_SILENCE)
    with Client(settings=settings, ledger=False) as client:
        return client.probe()


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
    from reelport.client.events import KeyExpires

    key = f"{found['kind']} key {found['key']}".strip() if found["kind"] != "bearer" else "bearer token"
    life = "" if probe.token_seconds is None else f"; its token is good for {probe.token_seconds / 60:.0f} minutes"
    yield Finding("key", Verdict.WELL, f"{key}, accepted{life}")
    if probe.key_expires is not None:
        yield Finding("expiry", Verdict.WARNING, str(KeyExpires(probe.key_expires)))
    yield _scopes(probe.scopes)
    if probe.version is not None:
        known = f"Reelport {probe.version}: queries are held to all rules before they are sent"
        yield Finding("service", Verdict.WELL, known)
    else:
        unknown = "not a Reelport service: names and combinations unknown to us are only warned of"
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
