"""The client's pages: what they show runs as written, against a service with the facts that they name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.forked import command_folder
from tests.warm_service import Service

from reelport.testing import Key

pytestmark = pytest.mark.long

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = DOCS / "tutorial" / "first-report.md"
HOW_TO = DOCS / "how-to" / "fetch-a-report.md"
ANY_RANGE = DOCS / "how-to" / "any-range.md"
SCHEDULE = DOCS / "how-to" / "run-on-a-schedule.md"
REQUESTS = DOCS / "how-to" / "five-requests.md"


SCHEDULERS = re.compile(r"^(from|import) (airflow|dagster)", re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def service(sampled: Service) -> Service:
    """The tutorial's facts of the month that it reads, fewer of them."""
    sampled.sample(date(2026, 10, 1), date(2026, 10, 31), rows=500)
    return sampled


@pytest.fixture(scope="module")
def environment(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tutorial's variables, with the command on the path and a ledger apart from the user's own."""
    key: Key = service.key("demo")
    ours = {"REELPORT_URL": service.url, "REELPORT_API_KEY": key.id, "REELPORT_API_SECRET": key.secret}
    ours["REELPORT_HOME"] = str(tmp_path_factory.mktemp("home"))
    path = os.pathsep.join((str(command_folder()), str(Path(sys.executable).parent), os.environ["PATH"]))
    return (
        {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")} | ours | {"PATH": path}
    )


def run(words: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_the_tutorials_commands_run(environment: dict[str, str], tmp_path: Path) -> None:
    """Every command after the set-up does what the page says; the wrong one ends with status 5."""
    reports = [block for block in blocks(TUTORIAL, "sh") if "sample" not in block and "export" not in block]
    assert len(reports) == 4
    statuses = []
    for block in reports:
        done = run(["bash", "-eu", "-c", block], environment, tmp_path)
        statuses.append(done.returncode)
        if done.returncode == 5:
            assert "Did you mean VIEWS?" in done.stderr
    assert statuses == [0, 0, 5, 0]
    assert (tmp_path / "october.csv").read_text("utf-8").startswith("day,video_title,views,time_watched_seconds\n")
    assert (tmp_path / "countries.csv").read_text("utf-8").startswith("visitor_country,views\n")


@pytest.mark.parametrize("page", [HOW_TO, ANY_RANGE], ids=lambda page: page.stem)
def test_the_pages_commands_run(page: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Every one as it is written; each leaves the file that it names, and prints what the page shows."""
    found = blocks(page, "sh")
    assert found
    said = ""
    for block in found:
        done = run(["bash", "-eu", "-c", block], environment, tmp_path)
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    named = re.findall(r" -o (\S+)", "".join(found))
    assert [name for name in named if not (tmp_path / name).is_file()] == []
    shown = [line for text in blocks(page, "text") for line in text.splitlines()]
    shown = [line for line in shown if line.startswith(("1,096 days", "Merged"))]
    assert [line for line in shown if line not in said] == []


def test_the_five_requests_are_answered_as_the_page_says(environment: dict[str, str], tmp_path: Path) -> None:
    """In one shell, as a reader types them: a file comes of it, and the wrong request names what would work."""
    done = run(["bash", "-eu", "-o", "pipefail", "-c", "".join(blocks(REQUESTS, "sh"))], environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.csv").read_text("utf-8").startswith("day,video_title,views\n2026-10-0")
    assert '"nearest":"VIEWS"' in done.stdout.replace(": ", ":")


@pytest.mark.parametrize("page", thin_out([TUTORIAL, HOW_TO, ANY_RANGE, SCHEDULE], 4), ids=lambda page: page.stem)
def test_the_pages_programs_run(page: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Every Python block is a whole program that ends well and leaves whole files."""
    programs = [program for program in blocks(page, "python") if not SCHEDULERS.search(program)]
    assert programs
    for program in programs:
        done = run([sys.executable, "-W", "error", "-c", program], environment, tmp_path)
        assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("*.part"))
    assert list(tmp_path.glob("*.csv"))


def test_the_log_is_as_the_page_on_schedules_says(environment: dict[str, str], tmp_path: Path) -> None:
    """Its first program writes such lines as it shows; what it gives to schedulers is Python that calls its second."""
    programs = blocks(SCHEDULE, "python")
    first, function = (program for program in programs if not SCHEDULERS.search(program))
    copies, given = (program for program in programs if SCHEDULERS.search(program))
    done = run([sys.executable, "-c", first], environment, tmp_path)
    said = [line.partition(" reelport.client: ")[2] for line in done.stderr.splitlines()]
    assert [line.split()[0] for line in said if line][-2:] == ["waited", "downloaded"]
    assert "def fetch_views(" in function
    compile(copies, "page", "exec")
    compile(given, "page", "exec")
    assert "from views import fetch_views" in given
    assert "date.today()" not in given  # elsewhere than in UTC that is another day than the service's
