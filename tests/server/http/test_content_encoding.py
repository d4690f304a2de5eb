"""Compressed downloads: for whom, under which names, and that the plain file stays what it is."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack

import pyarrow as pa
import pytest
from tests.cases import thin_out
from tests.server.api import Api, open_api
from tests.server.http.asgi import ask_with_sendfile

from reelport.server.http.content_encoding import LEAST_BYTES
from reelport.server.settings import read_settings

BODY = b"day,views\n" + b"".join(b"2026-01-%02d,%d\n" % (number % 28 + 1, number) for number in range(9000))
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(scope="module", params=["gzip", "zstd"])
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory, encoding: str) -> Iterator[Api]:
    """A service that compresses, with zstd or without."""
    data = tmp_path_factory.mktemp("packing")
    with open_api(read_settings(data=str(data), workers=0, download_encoding=encoding)) as api:
        yield api


@pytest.fixture(scope="module")
def link(packing: Api) -> str:
    return packing.link(packing.finished(BODY))


def fetch(api: Api, link: str, accepted: str, **headers: str) -> tuple[dict[str, str], bytes]:
    """The headers of an answer with its status, and its body as it came, compressed or not."""
    asked = {"Accept-Encoding": accepted, **{name.replace("_", "-"): text for name, text in headers.items()}}
    with api.client.stream("GET", link, headers=asked) as reply:
        return {**reply.headers, "status": str(reply.status_code)}, b"".join(reply.iter_raw())


def unpack(found: dict[str, str], body: bytes) -> bytes:
    """A body without its encoding."""
    match found.get("content-encoding"):
        case "gzip":
            return gzip.decompress(body)
        case "zstd":
            return bytes(pa.CompressedInputStream(pa.BufferReader(body), "zstd").read())
        case _:
            return body


@pytest.mark.parametrize(
    ("accepted", "of_gzip", "of_zstd"),
    thin_out(
        [
            ("gzip", "gzip", "gzip"),
            ("zstd", None, "zstd"),
            ("gzip, deflate, br, zstd", "gzip", "zstd"),
            ("zstd;q=0.5, gzip;q=0.8", "gzip", "gzip"),
            ("GZIP ; q=1.000", "gzip", "gzip"),
            ("gzip;q=0, identity", None, None),
            ("gzip;q=0.5, identity", None, None),
            ("gzip, identity", "gzip", "gzip"),
            ("gzip;q=0.000", None, None),
            ("gzip;q=much", None, None),
            ("identity", None, None),
            ("*", None, None),
            ("", None, None),
            ("br, deflate", None, None),
            (",".join(f"x{number}" for number in range(1000)) + ",gzip", None, None),
        ],
        4,
    ),
)
def test_a_file_is_compressed_for_whoever_asks_for_it(
    packing: Api, link: str, encoding: str, accepted: str, of_gzip: str | None, of_zstd: str | None
) -> None:
    """By name alone, the better one first where both are as welcome; unpacked it is the plain file."""
    expected = of_gzip if encoding == "gzip" else of_zstd
    found, body = fetch(packing, link, accepted)
    assert (found["status"], found.get("content-encoding")) == ("200", expected)
    assert unpack(found, body) == BODY
    assert found["etag"] == (f'"{SHA}-{expected}"' if expected else f'"{SHA}"')
    assert found["vary"] == "Accept-Encoding"
    assert found["reelport-rows"] == "9000"
    assert found.get("content-length") == (None if expected else str(len(BODY)))
    assert found.get("accept-ranges") == (None if expected else "bytes")
    assert len(body) < len(BODY) / 2 or expected is None


def test_parts_and_conditions_are_of_the_plain_file(packing: Api, link: str) -> None:
    """A range of it comes as it is; a cut compressed download begins anew, as its name is another's."""
    found, body = fetch(packing, link, "gzip", Range="bytes=10-19")
    assert (found["status"], body, found["etag"]) == ("206", BODY[10:20], f'"{SHA}"')
    assert "content-encoding" not in found
    assert found["vary"] == "Accept-Encoding"
    found, body = fetch(packing, link, "gzip", Range="bytes=10-19", If_Range=f'"{SHA}-gzip"')
    assert (found["status"], body) == ("200", BODY)
    found, body = fetch(packing, link, "gzip", If_Match=f'"{SHA}"')
    assert (found["status"], body) == ("200", BODY)
    assert fetch(packing, link, "gzip", If_None_Match=f'"{SHA}-gzip"')[0]["status"] == "304"
    assert fetch(packing, link, "gzip", If_None_Match=f'"{SHA}"')[0]["status"] == "200"
    assert fetch(packing, link, "identity", If_None_Match=f'"{SHA}"')[0]["status"] == "304"


def test_a_head_names_the_encoding_too(packing: Api, link: str) -> None:
    """With all headers of GET, no body, and no place taken."""
    whole, _ = fetch(packing, link, "gzip")
    head = packing.client.head(link, headers={"Accept-Encoding": "gzip"})
    same = whole.keys() - {"status", "date", "x-request-id"}
    assert {name: head.headers[name] for name in same} == {name: whole[name] for name in same}
    assert packing.service.encoded_downloads.borrowed_tokens == 0


def test_a_small_file_is_sent_as_it_is(packing: Api) -> None:
    """There is nothing to win."""
    link = packing.link(packing.finished(BODY[: LEAST_BYTES - 1]))
    found, body = fetch(packing, link, "gzip")
    assert (found.get("content-encoding"), body) == (None, BODY[: LEAST_BYTES - 1])


def test_beyond_a_bound_files_are_sent_as_they_are(packing: Api, link: str) -> None:
    """Each compressed download takes memory; one that ends gives its place back."""
    assert fetch(packing, link, "gzip")[0]["content-encoding"] == "gzip"
    places = packing.service.encoded_downloads  # bound to the event loop by now
    with ExitStack() as taken:
        for number in range(int(places.total_tokens)):
            places.acquire_on_behalf_of_nowait(number)
            taken.callback(places.release_on_behalf_of, number)
        found, body = fetch(packing, link, "gzip")
        assert (found.get("content-encoding"), body) == (None, BODY)
    assert fetch(packing, link, "gzip")[0]["content-encoding"] == "gzip"
    assert places.borrowed_tokens == 0


def test_nothing_is_compressed_unless_a_setting_says_so(api: Api) -> None:
    """Whatever a client asks for: its answer is that of ever."""
    found, body = fetch(api, api.link(api.finished(BODY)), "gzip, zstd")
    assert (body, found["etag"], found["content-length"]) == (BODY, f'"{SHA}"', str(len(BODY)))
    assert {"content-encoding", "vary"}.isdisjoint(found)


def test_a_compressed_file_is_never_sent_past_its_compression(packing: Api, link: str, encoding: str) -> None:
    """A server that would send the file itself is asked to for the plain one alone."""
    asked, messages = ask_with_sendfile(packing, link, "GET", {"accept-encoding": encoding})
    assert asked == []
    assert len(messages) > 1
    asked, _ = ask_with_sendfile(packing, link, "GET", {"accept-encoding": "identity"})
    assert asked[0] == (0, len(BODY))
