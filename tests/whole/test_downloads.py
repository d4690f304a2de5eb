"""Every way in which a download goes wrong, over a real socket: library, asyncio twin and command."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from tests.cases import thin_out

from reelport import (
    AsyncClient,
    Client,
    Downloaded,
    IncompleteDownload,
    Proof,
    ReelportError,
    ReportQuery,
    Unreachable,
)
from reelport.errors import SchemaDrift
from reelport.testing import Cut, Vendor

QUERY = ReportQuery.of(["VIEWS", "ECPM_EUR"], ["DAY", "VIDEO_TITLE"], date(2026, 1, 1), date(2026, 1, 9))
ERRORS: dict[Cut, type[ReelportError]] = {
    Cut.HTML_200: Unreachable,
    Cut.JSON_200: Unreachable,
    Cut.WRONG_HEADER: SchemaDrift,
}
LASTING = {Cut.WRONG_HEADER}
"""What trying again can't mend, since it is no accident of the way."""

UNSEEN = {
    Cut.UNFRAMED_AT_LINE_END: Proof.SHAPE,
    Cut.SHORT_FILE: Proof.LENGTH,
    Cut.GZIP_MEMBER: Proof.LENGTH,
    Cut.WRONG_BYTE: Proof.LENGTH,
}
"""What nobody can see without a checksum, and what the client then says that it relied on."""

# A range that is wrong needs a download that goes on; silence is waited for a minute. Both are tried elsewhere.
CUTS = [cut for cut in Cut if cut not in {Cut.WRONG_RANGE, Cut.STALL}]

Fetch = Callable[[Vendor, str, Path], Downloaded]


def fetch(vendor: Vendor, token: str, to: Path) -> Downloaded:
    with Client(vendor.url, vendor.key, vendor.secret, sleep=lambda _: None) as client:
        return client.reports.attach(token, QUERY).download(to)


def afetch(vendor: Vendor, token: str, to: Path) -> Downloaded:
    async def go() -> Downloaded:
        async def sleep(_: float) -> None:
            await asyncio.sleep(0)

        async with AsyncClient(vendor.url, vendor.key, vendor.secret, sleep=sleep) as client:
            return await client.reports.attach(token, QUERY).download(to)

    return asyncio.run(go())


def asked(vendor: Vendor) -> str:
    with Client(vendor.url, vendor.key, vendor.secret) as client:
        return client.reports.submit(QUERY).token


@pytest.fixture(params=[fetch, afetch], ids=["sync", "async"])
def fetcher(request: pytest.FixtureRequest) -> Fetch:
    """The download through either client."""
    found: Fetch = request.param
    return found


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    """A vendor that makes reports at once and offers no ranges, so that each try begins anew."""
    with Vendor(ranges=False) as vendor:
        yield vendor


@pytest.fixture(scope="module")
def token(vendor: Vendor) -> str:
    """A report of the vendor."""
    return asked(vendor)


@pytest.fixture(scope="module")
def whole(vendor: Vendor, token: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Its file as it should be."""
    vendor.cut = None
    return fetch(vendor, token, tmp_path_factory.mktemp("whole") / "views.csv").path.read_bytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("cut", thin_out(CUTS, 6), ids=lambda cut: cut.name)
def test_half_a_file_never_gets_the_name(vendor: Vendor, token: str, tmp_path: Path, fetcher: Fetch, cut: Cut) -> None:
    """Where the service gives a checksum whatever goes wrong is seen, and what had the name keeps it."""
    target = tmp_path / "views.csv"
    target.write_text("of yesterday\n")
    vendor.cut, vendor.cut_times, vendor.etag = cut, None, True
    with pytest.raises(ERRORS.get(cut, IncompleteDownload)):
        fetcher(vendor, token, target)
    assert target.read_text() == "of yesterday\n"
    assert names(tmp_path) == ["views.csv"]


@pytest.mark.parametrize("cut", thin_out([cut for cut in CUTS if cut not in LASTING], 3), ids=lambda cut: cut.name)
def test_what_went_wrong_once_is_tried_again(
    vendor: Vendor, token: str, whole: bytes, tmp_path: Path, fetcher: Fetch, cut: Cut
) -> None:
    """The second try brings the whole file, to the byte."""
    vendor.cut, vendor.cut_times, vendor.etag, before = cut, 1, True, vendor.downloads
    done = fetcher(vendor, token, tmp_path / "views.csv")
    assert done.path.read_bytes() == whole
    assert (done.proof, vendor.downloads - before) == (Proof.CHECKSUM, 2)


@pytest.mark.parametrize("cut", thin_out(CUTS, 3), ids=lambda cut: cut.name)
def test_without_a_checksum_only_what_nobody_can_see_passes(
    vendor: Vendor, token: str, tmp_path: Path, cut: Cut
) -> None:
    """Length, the end of gzip and the rows show the rest; what passes says what it relied on, never a checksum."""
    vendor.cut, vendor.cut_times, vendor.etag = cut, None, False
    if cut in UNSEEN:
        assert fetch(vendor, token, tmp_path / "views.csv").proof is UNSEEN[cut]
        return
    with pytest.raises(ERRORS.get(cut, IncompleteDownload)):
        fetch(vendor, token, tmp_path / "views.csv")
    assert names(tmp_path) == []


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    status: int
    said: str
    left: list[str]


COMMANDS = """\
import json, os, sys
from reelport.cli.main import main
for line in json.load(sys.stdin):
    os.environ |= line["environment"]
    sys.stderr.write(line["mark"])
    sys.stderr.flush()
    sys.argv = ["reelport", *line["words"]]
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    print(status, flush=True)
"""


@pytest.fixture(scope="module")
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Cut, Ended]:
    """What `reelport report download` comes to with each cut that tests ask for, all run by one process."""
    folder = tmp_path_factory.mktemp("commands")
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted = {item.callspec.params["cut"] for item in items if "ended" in item.fixturenames}
    vendors = {cut: Vendor(ranges=False, cut=cut) for cut in CUTS if cut in wanted}
    try:
        lines = []
        for cut, vendor in vendors.items():
            vendor.start()
            (folder / cut.name).mkdir()
            words = ["report", "download", asked(vendor), "--url", vendor.url, "-o", f"{folder / cut.name}/views.csv"]
            key = {"REELPORT_API_KEY": vendor.key, "REELPORT_API_SECRET": vendor.secret}
            lines.append({"mark": f"\n@@{cut.name}\n", "words": words, "environment": key})
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS],
            input=json.dumps(lines),
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
    finally:
        for vendor in vendors.values():
            vendor.stop()
    said = dict(part.split("\n", 1) for part in done.stderr.split("\n@@")[1:])
    statuses = [int(line) for line in done.stdout.split()]
    return {
        cut: Ended(status, said[cut.name], names(folder / cut.name))
        for cut, status in zip(vendors, statuses, strict=True)
    }


@pytest.mark.parametrize("cut", thin_out(CUTS, 4), ids=lambda cut: cut.name)
def test_the_command_leaves_no_half_file(ended: dict[Cut, Ended], cut: Cut) -> None:
    """It ends with status 1, says what was wrong and what to do next, and leaves nothing."""
    assert (ended[cut].status, ended[cut].left) == (1, [])
    assert "Traceback" not in ended[cut].said
    assert "signature" not in ended[cut].said
    advice = "--any-columns" if cut in LASTING else "reelport report download report-"
    assert advice in ended[cut].said
