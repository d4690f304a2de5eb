"""What the log writes: it waits for nobody, repeats are limited, and no address of a database shows its password."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from tests import forked
from tests.cases import thin_out
from tests.patience import PATIENCE, free_port, until

from reelport.cli.main import main
from reelport.errors import StorageError, UsageError
from reelport.server import logs
from reelport.server.database_address import parse_address
from reelport.server.doctor.checks import run_checks
from reelport.server.logs import LogThrottle, redact_text
from reelport.server.masking import EXAMPLE, hide_passwords
from reelport.server.settings import read_settings
from reelport.server.state.database import connect
from reelport.server.web_server import log_exhaustion


@pytest.fixture
def as_before() -> Iterator[None]:
    """The log is set up as it was once the test ends."""
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


@pytest.mark.usefixtures("as_before")
def test_lines_that_nobody_takes_are_lost() -> None:
    """A pipe that is full is as a disk without room: what comes then is lost, and nobody waits."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    with closing(os.fdopen(reader, "rb")) as read, closing(os.fdopen(writer, "w")) as stream:
        logs.configure(read_settings(), stream)
        log = structlog.get_logger()
        while True:
            try:
                os.write(writer, b"\n" * 4096)
            except BlockingIOError:
                break
        log.info("first")
        log.info("second")
        assert not read.read().strip()
        log.info("third")
        log.info("fourth")
        lines = [json.loads(line) for line in read.read().splitlines()]
    assert [line["event"] for line in lines] == ["third", "fourth"]


def test_a_service_whose_log_has_no_room_runs_and_ends_as_ever(tmp_path: Path) -> None:
    port = free_port()
    words = ["serve", "--data", str(tmp_path / "data"), "--port", str(port), "--workers", "1"]
    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen([sys.executable, "-m", "reelport", *words], stdout=subprocess.DEVNULL, stderr=full) as service,
    ):
        try:
            assert until(lambda: service.poll() is not None or is_well(port))
            assert is_well(port)
            service.send_signal(signal.SIGTERM)
            assert service.wait(PATIENCE) == 0
        finally:
            service.kill()


def is_well(port: int) -> bool:
    """Whether the service answers that all is well, its workers included."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE) as answer:
            return bool(json.load(answer)["status"] == "ok")
    except OSError:
        return False


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What this process logs, as the service would."""
    stream = io.StringIO()
    logs.configure(read_settings(), stream)
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


def lines(written: io.StringIO) -> list[dict[str, str]]:
    """Every line that was logged."""
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_one_cause_is_logged_ten_times_and_others_beside_it(written: io.StringIO) -> None:
    """Our own lines and those of libraries alike; what isn't a warning is never left out."""
    log = structlog.get_logger("test")
    for number in range(1000):
        log.error("no connection", reason="too many open files")
        log.info("request", number=number)
        logging.getLogger("asyncio").error(
            "socket.accept() out of system resource", exc_info=OSError(errno.EMFILE, "x")
        )
    log.error("no connection", reason="no memory")
    found = [line["event"] for line in lines(written)]
    assert found.count("no connection") == 11
    assert found.count("request") == 1000
    assert sum(each.startswith("socket.accept()") for each in found) == 10
    assert "left out" in [line for line in lines(written) if line["event"] == "no connection"][9]["throttled"]


def test_after_a_minute_a_cause_is_logged_again() -> None:
    """The count begins anew with it, and nothing is known of causes of earlier minutes."""
    now = 0.0
    throttle = LogThrottle(lambda: now)
    assert sum(throttle.admit("cause") is not None for _ in range(25)) == 10
    now = 60.0
    assert throttle.admit("cause") == ""
    assert sum(throttle.admit("cause") is not None for _ in range(25)) == 9


def test_an_accept_that_finds_no_open_file_is_a_sentence_and_no_traceback(written: io.StringIO) -> None:
    """Twenty a second, as asyncio tries: ten lines of them. Whatever else went wrong is logged whole."""
    with closing(asyncio.new_event_loop()) as loop:
        for _ in range(1000):
            error = OSError(errno.EMFILE, "Too many open files")
            log_exhaustion(loop, {"message": "socket.accept() out of system resource", "exception": error})
        log_exhaustion(loop, {"message": "a callback failed", "exception": ValueError("why")})
    found = lines(written)
    assert [line["event"] for line in found[:10]] == ["no further connection can be accepted now"] * 10
    assert "Traceback" not in json.dumps(found[:10])
    (whole,) = found[10:]
    assert "ValueError: why" in json.dumps(whole)


ODD = st.text(st.sampled_from("@:/%#?&=+[]'\"\\ ~é動😀a0"), max_size=8)
PASSWORDS = ODD.map(lambda odd: f"s3cr3t{odd}t3rc3s")


def tells(text: str) -> bool:
    """Whether any end of the password can be read."""
    return "s3cr3t" in text or "t3rc3s" in text


@given(PASSWORDS, st.sampled_from(["postgresql", "postgres", "postgresql+psycopg", "PostgreSQL"]))
def test_no_text_shows_the_password_of_an_address(password: str, scheme: str) -> None:
    """As it is or quoted, alone or within a sentence, and once more where it was hidden already."""
    address = f"{scheme}://user:{password}@db.example:5432/state"
    for text in (address, repr(address), f"can't reach {address}: refused\nhost db.example", f"x={address}"):
        masked = hide_passwords(text)
        assert not tells(masked)
        assert "db.example" in masked
        assert hide_passwords(masked) == masked
        assert not tells(redact_text(text))


@pytest.mark.parametrize("secret", ["s3cr3t", "s3cr3t/t3rc3s", "s3cr3t@t3rc3s", "s3cr3t/x+y/z=@t3rc3s"])
def test_no_text_shows_the_secret_of_any_address(secret: str) -> None:
    """Of a bucket or a page too, whatever slashes it holds; an address without one stays as it is."""
    for address in (f"s3://AKIA:{secret}@bucket/facts", f"https://user:{secret}@h.example:8443/x"):
        masked = hide_passwords(f"It is s3://bucket, and not {address!r}: ann@demo.example")
        assert tells(address)
        assert not tells(masked)
        assert masked.endswith(": ann@demo.example")
    plain = "listening at http://127.0.0.1:8000/studio, tell ann@demo.example"
    assert hide_passwords(plain) == plain


def test_no_text_shows_a_token_of_spark_or_aws() -> None:
    """That of Spark's address, and the one that a store repeats when it has expired."""
    for text in (
        "Parameter ;token=s3cr3t== of sc://spark:15002/;use_ssl=true;token=s3cr3t;user_id=x",
        "400: <Error><Code>ExpiredToken</Code><Token-0>s3cr3t/t3rc3s</Token-0></Error>",
        "400: <Error><Token-0>s3cr3t/t3rc",
    ):
        masked = hide_passwords(text)
        assert not tells(masked)
        assert hide_passwords(masked) == masked


def test_an_example_of_an_address_can_be_read_beside_one_that_is_masked() -> None:
    """It shows how to write one, and nobody's password; a real one before or after it stays hidden."""
    real = "postgresql://user:s3cr3t@t3rc3s@db.example/state"
    for text in (f"Not {EXAMPLE}.", f"{real} isn't {EXAMPLE}.", f"{EXAMPLE}, and not {real}"):
        masked = hide_passwords(text)
        assert EXAMPLE in masked
        assert not tells(masked)
    with pytest.raises(UsageError) as refused:
        parse_address("mysql://user:s3cr3t@127.0.0.1/state")
    assert "postgres:// are known" in str(refused.value)
    (fault,) = (found for found in run_checks(read_settings(database_url="state")) if found.subject == "database")
    assert EXAMPLE in fault.sentence


@given(PASSWORDS)
def test_an_address_is_read_in_one_way_or_refused_without_a_word_of_it(password: str) -> None:
    """Escaped it is the password that was meant; as it is, its host and its database are those after the last @."""
    meant = parse_address(f"postgres://user:{quote(password, safe='')}@db.example:5432/state")
    assert (meant.password, meant.host, meant.database) == (password, "db.example", "state")
    address = f"postgresql://user:{password}@db.example:5432/state"
    if "@" in password:
        with pytest.raises(UsageError, match="%40") as refused:
            parse_address(address)
        assert not tells(str(refused.value) + repr(refused.value.__cause__))
    else:
        found = parse_address(address)
        assert (found.username, found.host, found.port, found.database) == ("user", "db.example", 5432, "state")
        assert not tells(repr(found) + str(found))


@pytest.mark.parametrize(
    "address",
    thin_out(
        [
            "postgresql://user:s3cr3t@t3rc3s@127.0.0.1:1/state",
            "postgresql://us/er:s3cr3t@127.0.0.1:1/state",
            "postgresql://user:s3cr3t@127.0.0.1:none/state",
            "user:s3cr3t@t3rc3s@127.0.0.1/state",
            "mysql://user:s3cr3t@127.0.0.1/state",
            "postgresql://user:s3cr3t/%#?&t3rc3s@127.0.0.1:1/state",
            "postgresql://user:s3cr3t%00t3rc3s@127.0.0.1:1/state",
            "postgresql://127.0.0.1:1/state?user=user&password=s3cr3t",
        ],
        9,
    ),
)
def test_no_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str) -> None:
    """Neither one that can't reach the database nor doctor, nor the settings, nor a slip on the command line."""
    settings = read_settings(data=tmp_path / "data", database_url=address)
    assert not tells(repr(settings))
    with pytest.raises((StorageError, UsageError)) as refused:
        connect(settings)
    assert not tells(str(refused.value))
    assert not tells("".join(found.sentence for found in run_checks(settings)))
    for words in (["serve", address], ["serve", "--port", address], ["serve", "--database-url", address], ["doctor"]):
        with pytest.raises(SystemExit):
            main([*words, "--data", f"{tmp_path / 'data'}"])
        said = capsys.readouterr()
        assert not tells(said.out + said.err) or "://" not in address, words


def test_help_shows_no_address_of_the_environment() -> None:
    """The default that it tells is that of the program."""
    environment = {**os.environ, "REELPORT_DATABASE_URL": "postgresql://user:s3cr3t@t3rc3s@127.0.0.1:1/state"}
    done = forked.run(["-m", "reelport", "serve", "--help"], env=environment, loads=forked.COMMANDS)
    assert "--database-url" in done.stdout
    assert not tells(done.stdout + done.stderr)
