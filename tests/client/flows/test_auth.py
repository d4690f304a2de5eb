"""Three kinds of key, and tokens that are renewed once for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import parse_qs

import pytest
from tests.client.conftest import REPORT, TOKEN, Time, looked
from tests.client.flows.flow_driver import ASKED, PAGE, FlowDriver, ask, reply

from reelport import AsyncClient, Client
from reelport.client.events import Event, KeyExpires, ignore_event
from reelport.client.flows import auth, lifecycle
from reelport.client.session import Access, Grant, Session
from reelport.client.settings.config import Bearer, PublicKey
from reelport.client.steps import Flow, Lost, Reply, Wait
from reelport.errors import AccessError, QueryRefused, ServiceError, Unreachable
from reelport.query import ReportQuery
from reelport.testing import Vendor

PASSWORD = "the-password-of-the-owner"  # noqa: S105 - a test's
REFRESH = "refresh-token-of-the-test-51bd"
LOGIN = PublicKey("public-key-7", "secret-of-the-public-key", "owner@example.org", PASSWORD)
MANY = 16


def login(token: str = TOKEN, refresh: str | None = REFRESH, **more: object) -> Reply:
    return reply({"access_token": token, "refresh_token": refresh, "expires_in": 36000, "scope": ""} | more)


def forms(hand: FlowDriver) -> list[dict[str, str]]:
    """What the token endpoint was sent."""
    sent = [step.request for step in hand.sent if step.request.url.endswith("/token")]
    return [{name: values[0] for name, values in parse_qs((each.body or b"").decode()).items()} for each in sent]


@pytest.fixture
def public(session: Session) -> Session:
    """A session with a public key."""
    return Session(replace(session.settings, key=LOGIN), session.clock, session.chance, Access(reelport=False))


def test_a_public_key_logs_in_and_then_refreshes(public: Session, time: Time) -> None:
    """The first token is had by password, later ones by the refresh token, both at the public paths, without scopes."""
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")), grants=(login(), login(refresh=None), login()))
    for seconds in (0, 35950, 35950):
        time.seconds += seconds
        hand.drive(lifecycle.look(public, REPORT, ignore_event))
    first, second, third = forms(hand)
    assert first == {
        "client_id": LOGIN.id,
        "client_secret": LOGIN.secret,
        "grant_type": "password",
        "username": LOGIN.username,
        "password": PASSWORD,
    }
    assert second["grant_type"] == third["grant_type"] == "refresh_token"
    assert third["refresh_token"] == REFRESH, "an answer without a new refresh token leaves the old one good"
    assert {step.request.url.removeprefix(public.settings.url) for step in hand.sent} == {"/oauth/token", "/"}


def test_a_refresh_token_that_is_refused_is_followed_by_the_password(public: Session, time: Time) -> None:
    """Refresh tokens end too: then the login is good for another."""
    no = reply({"error": "invalid_grant", "error_description": "Invalid refresh token"}, 400)
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")), grants=(login(), no, login("another-token")))
    hand.drive(lifecycle.look(public, REPORT, ignore_event))
    time.seconds += 36000
    hand.drive(lifecycle.look(public, REPORT, ignore_event))
    assert [form["grant_type"] for form in forms(hand)] == ["password", "refresh_token", "password"]
    assert hand.sent[-1].request.headers["authorization"] == "Bearer another-token"


def test_a_wrong_login_says_what_to_check_and_tells_nothing(public: Session, time: Time) -> None:
    """The error of a refused login names the settings, and holds neither login nor secret nor token."""
    echo = f"{LOGIN.username} {PASSWORD} {LOGIN.secret} {LOGIN.id} {REFRESH}"
    no = reply({"error": "invalid_grant", "error_description": echo}, 400)
    public.access.grant = Grant(TOKEN, float("-inf"), REFRESH)
    with pytest.raises(AccessError, match="REELPORT_USERNAME") as caught:
        FlowDriver(time, reply(looked("IN_PROGRESS")), grants=(no,)).drive(lifecycle.look(public, REPORT, ignore_event))
    for secret in (LOGIN.username, PASSWORD, LOGIN.secret, LOGIN.id, REFRESH, TOKEN):
        assert secret not in str(caught.value)
        assert secret not in repr(public)


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": "two words"},
        {"access_token": "line\r\nbreak"},
        {"access_token": "tökén"},
        {"access_token": 7},
        {"access_token": ""},
    ],
)
def test_what_cannot_be_sent_is_no_token(session: Session, time: Time, answer: dict[str, Any]) -> None:
    """A token that would break the header it is sent in is refused as none."""
    with pytest.raises(ServiceError, match="without a token"):
        FlowDriver(time, reply(ASKED), grants=(reply(answer),)).drive(lifecycle.look(session, REPORT, ignore_event))


@pytest.mark.parametrize("life", ["soon", None, True, -5, "NaN", {}])
def test_a_life_that_is_no_number_of_seconds(session: Session, time: Time, life: object) -> None:
    """A token whose end isn't known is used at least once."""
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")), grants=(reply({"access_token": TOKEN, "expires_in": life}),))
    assert hand.drive(lifecycle.look(session, REPORT, ignore_event)).token == REPORT


def test_a_short_life_has_a_short_margin(session: Session, time: Time) -> None:
    """A token of ten seconds is used for nine."""
    grants = (reply({"access_token": TOKEN, "expires_in": 10}),)
    hand = FlowDriver(time, reply(looked("IN_PROGRESS")), grants=grants)
    for seconds in (0, 8.9, 0.2):
        time.seconds += seconds
        hand.drive(lifecycle.look(session, REPORT, ignore_event))
    assert hand.sent_to("/token") == 2


def with_bearer(session: Session, *, reelport: bool | None = None) -> Session:
    settings = replace(session.settings, key=Bearer(TOKEN))
    return Session(settings, session.clock, session.chance, Access(reelport=reelport))


def test_a_key_that_expires_soon_is_told_once(public: Session, time: Time) -> None:
    """The service says it with each token; the caller hears it with the first, and again when the time is another."""
    body = {"access_token": TOKEN, "expires_in": 36000, "scope": ""}
    soon = reply(body, reelport_key_expires="2026-12-01T00:00:00Z")
    grants = (soon, soon, reply(body), reply(body, reelport_key_expires="2027-03-01T00:00:00Z"))
    hand, told = FlowDriver(time, reply(looked("IN_PROGRESS")), grants=grants), list[Event]()
    for _ in grants:
        hand.drive(lifecycle.look(public, REPORT, told.append))
        time.seconds += 35950
    ends = [event.at for event in told if isinstance(event, KeyExpires)]
    assert ends == [datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 3, 1, tzinfo=UTC)]


@pytest.mark.parametrize("text", ["soon", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", ""])
def test_an_expiry_that_is_no_time_is_ignored(public: Session, time: Time, text: str) -> None:
    """Another vendor may say anything in a header of this name."""
    grants = (reply({"access_token": TOKEN, "expires_in": 36000}, reelport_key_expires=text),)
    hand, told = FlowDriver(time, reply(looked("IN_PROGRESS")), grants=grants), list[Event]()
    hand.drive(lifecycle.look(public, REPORT, told.append))
    assert not [event for event in told if isinstance(event, KeyExpires)]


def test_a_bearer_token_asks_for_no_other(session: Session, time: Time, query: ReportQuery) -> None:
    """A token that was given is used as it is; one cheap query tells whom it is for."""
    host = with_bearer(session)
    hand = FlowDriver(time, reply({"data": {"__typename": "Query"}}, 200, reelport_version="1"), reply(ASKED))
    assert hand.drive(ask(host, query, ignore_event)).token == REPORT
    assert host.reelport is True
    assert hand.sent_to("/token") == 0
    assert b"__typename" in (hand.sent[0].request.body or b"")


def test_a_vendor_that_refuses_the_cheap_query_is_asked_all_the_same(
    session: Session, time: Time, query: ReportQuery
) -> None:
    """A refusal of `__typename` tells enough: it isn't a Reelport service."""
    host = with_bearer(session)
    no = reply({"data": None, "errors": [{"message": "introspection is off"}]})
    assert FlowDriver(time, no, reply(ASKED)).drive(ask(host, query, ignore_event)).token == REPORT
    assert host.reelport is False


@pytest.mark.parametrize("answer", [reply(PAGE), reply(PAGE, 404)])
def test_a_host_that_is_no_reporting_api_is_not_asked(
    session: Session, time: Time, query: ReportQuery, answer: Reply
) -> None:
    """With a bearer token too, a wrong address is seen before a report is asked for."""
    hand = FlowDriver(time, answer, reply(ASKED))
    with pytest.raises(Unreachable, match="REELPORT_URL"):
        hand.drive(ask(with_bearer(session), query, ignore_event))
    assert hand.sent_to("/graphql") == 1


def test_a_bearer_token_that_is_refused_is_not_tried_again(session: Session, time: Time) -> None:
    """There is no other to be had: the error says which setting needs a fresh one."""
    hand = FlowDriver(time, reply({"errors": [{"message": "expired"}]}, 401))
    with pytest.raises(AccessError, match="REELPORT_BEARER"):
        hand.drive(lifecycle.look(with_bearer(session), REPORT, ignore_event))
    assert hand.sent_to("/graphql") == 1


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "tökén", "nul\0"])
def test_a_text_that_is_no_bearer_token(text: str) -> None:
    """What can't be sent is refused before it is, without being told."""
    with pytest.raises(AccessError) as caught:
        Bearer(text)
    assert not text or text not in str(caught.value)


def begun(session: Session) -> Flow[str]:
    """The renewal of a flow that found no good token and waits for its turn."""
    flow = auth.get_token(session, ignore_event)
    with session.access.turn:
        assert isinstance(next(flow), Wait)
    return flow


def test_a_refusal_is_shared_with_all_that_waited(session: Session, time: Time) -> None:
    """A key that is refused once isn't tried by each flow that waited for it, but by the next that comes."""
    no = reply({"error": "invalid_client"}, 401)
    hand = FlowDriver(time, reply(ASKED), grants=(no,))
    waiting = [begun(session) for _ in range(5)]
    for renewal in waiting:
        with pytest.raises(AccessError):
            hand.drive(renewal)
    assert hand.sent_to("/token") == 1
    assert session.access.failure is not None
    assert session.access.failure.__traceback__ is None
    with pytest.raises(AccessError):
        hand.drive(begun(session))
    assert hand.sent_to("/token") == 2


def test_flows_that_wait_for_a_dead_service_end_together(session: Session, time: Time) -> None:
    """The patience of a flow runs while it waits for its turn, so that many take no longer than one."""
    hand = FlowDriver(time, reply(ASKED), grants=(Lost("connection refused", sent=False),))
    start = time.seconds
    for renewal in [begun(session) for _ in range(8)]:
        with pytest.raises(Unreachable):
            hand.drive(renewal)
    assert time.seconds - start < 25


def test_a_flow_that_was_stopped_leaves_the_turn_to_the_next(session: Session, time: Time) -> None:
    """A renewal that is cancelled in its midst is no failure for the others."""
    first, second = begun(session), begun(session)
    next(first)
    first.close()
    assert FlowDriver(time, reply(ASKED)).drive(second) == TOKEN


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A vendor with a report that is never done."""
    with Vendor(makes_in=3600) as vendor:
        yield vendor


def test_many_threads_renew_a_token_once(vendor: Vendor, query: ReportQuery) -> None:
    """Of many threads whose token is refused at once, one gets another and all go on with it."""
    with Client(vendor.url, vendor.key, vendor.secret, ledger=False) as client, ThreadPoolExecutor(MANY) as threads:
        report = client.reports.submit(query)
        vendor.revoke_tokens()
        handles = [client.reports.attach(report.token) for _ in range(MANY)]
        assert {each.status for each in threads.map(lambda handle: handle.refresh(), handles)} == {"IN_PROGRESS"}
    assert len(vendor.grants) == 2


def test_many_tasks_renew_a_token_once(vendor: Vendor, query: ReportQuery) -> None:
    """The same on the event loop; a task that is cancelled while it waits takes nobody with it."""

    async def many() -> None:
        async with AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=False) as client:
            report = await client.reports.submit(query)
            vendor.revoke_tokens()
            tasks = [asyncio.ensure_future(client.reports.attach(report.token).refresh()) for _ in range(MANY)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(each, BaseException) for each in outcomes) == 1

    asyncio.run(many())
    assert len(vendor.grants) <= 3  # and a third only where the one that was cancelled had begun


def test_tasks_that_wait_for_a_token_let_the_event_loop_go_on(vendor: Vendor) -> None:
    """Even where a program's own sleep takes no time: the task that renews the token needs the loop."""
    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        assert looks < 100_000, "the event loop stands still"

    async def probe() -> None:
        async with AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=False, sleep=sleep) as client:
            await asyncio.gather(*(client.probe() for _ in range(3)))

    asyncio.run(probe())
    assert len(vendor.grants) == 1


def test_a_client_serves_one_event_loop_after_another(vendor: Vendor) -> None:
    """What waits for a turn belongs to its loop, not to the client."""
    client = AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=False)

    async def once() -> None:
        vendor.revoke_tokens()
        looks = [client.reports.attach("no-such-report").refresh() for _ in range(4)]
        outcomes = await asyncio.gather(*looks, return_exceptions=True)
        assert {type(each).__name__ for each in outcomes} == {"ReportExpired"}
        await client.close()
        client._transport = AsyncClient(vendor.url, "key", "secret")._transport  # noqa: SLF001 - connections end with their loop

    asyncio.run(once())
    asyncio.run(once())


def test_a_public_key_at_a_vendor(query: ReportQuery) -> None:
    """Over a real socket: login, a refresh when the token is gone, the login again when both are."""
    with (
        Vendor(makes_in=3600) as vendor,
        Client(
            vendor.url,
            vendor.key,
            vendor.secret,
            username=vendor.username,
            password=vendor.password,
            ledger=False,
        ) as client,
    ):
        report = client.reports.submit(query)
        vendor.revoke_tokens()
        report.refresh()
        vendor.revoke_tokens(refresh=True)
        report.refresh()
        assert vendor.grants[:2] == ["password", "refresh_token"]
        assert vendor.grants[-1] == "password"
        assert len(vendor.asks) == 1


@pytest.mark.parametrize("refusal", ["401", "errors"])
def test_a_bearer_token_at_a_vendor(query: ReportQuery, refusal: Literal["401", "errors"]) -> None:
    """Over a real socket: no token is asked for; one that is gone is an AccessError, however it is refused."""
    with Vendor(makes_in=3600, token_refusal=refusal) as vendor:
        with Client(vendor.url, bearer=vendor.bearer, ledger=False) as client:
            assert client.reports.submit(query).refresh().status == "IN_PROGRESS"
        assert vendor.grants == []
        with Client(vendor.url, bearer="gone", ledger=False) as client, pytest.raises(AccessError):
            client.reports.submit(query)


def test_a_vendor_that_says_it_is_reelport_is_held_to_the_rules(query: ReportQuery) -> None:
    """Over a real socket, with every kind of key: an unknown name is refused here, and passes elsewhere."""
    wrong = replace(query, metrics=("VIEW",))
    for says in (True, False):
        with Vendor(says_reelport=says) as vendor:
            for client in (
                Client(vendor.url, vendor.key, vendor.secret, ledger=False),
                Client(
                    vendor.url,
                    vendor.key,
                    vendor.secret,
                    username=vendor.username,
                    password=vendor.password,
                    ledger=False,
                ),
                Client(vendor.url, bearer=vendor.bearer, ledger=False),
            ):
                with client:
                    if says:
                        with pytest.raises(QueryRefused):
                            client.reports.submit(wrong)
                    else:
                        with pytest.warns(UserWarning, match="VIEW"):
                            client.reports.submit(wrong)
            assert len(vendor.asks) == (0 if says else 3)
