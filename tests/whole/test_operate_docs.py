"""The operator's pages: every command runs as written, here or in the test of its place; what they name is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from tests.forked import command_folder
from tests.operate_pages import FENCE
from tests.warm_service import Service

from reelport.server.settings import setting_names, variable_name

from .partner import Partner

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "operate").glob("*.md"), reverse=True)
SECRETS = ROOT / "docs" / "operate" / "secrets.md"
ELSEWHERE = {
    "root": "deploy/test_machine_changes.py",
    "empty-root": "deploy/test_installation.py",
    "servers": "whole/test_server_docs.py",
    "environment": "whole/test_extras_docs.py",
    "podman": "deploy/test_podman_commands.py",
}
"""The test that runs a fence's commands, by the place that the fence names."""
READY = Path(sys.prefix) / "ready"
"""What `make` would make first, where it isn't there."""
MEASURE = "python -m benchmarks.capacity.measure"
LINK = re.compile(r"\]\(([^)#:]*)(?:#([\w-]+))?\)")
OTHERS = {"REELPORT_DATA", "REELPORT_INSTALL"}


def script(page: Path) -> str:
    """The commands of a page, without those that another test runs."""
    blocks = FENCE.findall(page.read_text("utf-8"))
    assert {language for language, _, _ in blocks} <= {"sh"}, page
    assert {place for _, place, _ in blocks} <= {"", *ELSEWHERE}, page
    text = "".join(text for _, place, text in blocks if not place)
    for program in ("caddy", "promtool", "make"):
        if shutil.which(program) is None or (program == "make" and not READY.exists()):
            text = re.sub(rf"^{program} .*\n", "", text, flags=re.MULTILINE)
    # Of a hundred million rows it would measure the same.
    text = text.replace(MEASURE, f"{MEASURE} --rows 20000 --large 100000 --times 1")
    # While others keep the disk busy, that is a fault that it finds.
    return re.sub(r"^reelport doctor$", "until reelport doctor; do sleep 1; done", text, flags=re.MULTILINE)


WITH_COMMANDS = [page for page in PAGES if page != SECRETS and script(page).strip()]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service with sample facts and a finished report."""
    with Service() as service:
        service.sample(date(2026, 9, 1), date(2026, 9, 3), rows=600)
        partner = Partner(service, service.key("demo"))
        partner.fetch(partner.ask(startDate="2026-09-01", endDate="2026-09-02"))
        yield service


@pytest.fixture
def environment(service: Service) -> dict[str, str]:
    """An operator's: the command on the path, the service's data directory."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
    own["REELPORT_HOME"] = os.environ["REELPORT_HOME"]
    path = os.pathsep.join((str(command_folder()), str(Path(sys.executable).parent), os.environ["PATH"]))
    # It must never install anything into the environment that runs the tests, however old that is.
    own["MAKEFLAGS"] = "--assume-old=.venv/ready"
    return own | {"PATH": path, "REELPORT_DATA": str(service.data), "COLUMNS": "200"}


def run(text: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-eu", "-o", "pipefail", "-c", text]
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.long
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_a_pages_commands_run(page: Path, service: Service, environment: dict[str, str], tmp_path: Path) -> None:
    """One after another, in an empty folder with what they need of a checkout, beside a running service."""
    text = script(page)
    for program in ("curl", "openssl"):
        if program in text and shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")  # for some commands write into them
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=shutil.ignore_patterns("data", "__pycache__"))
    for name in ("Makefile", "pyproject.toml", "uv.lock", "supply_chain"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = run(text.replace("8642", str(service.settings.port)), environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_the_page_on_secrets_makes_new_ones(environment: dict[str, str], tmp_path: Path) -> None:
    """Of a key, and of the service: another one is refused while a key needs the old one."""
    data = tmp_path / "own"
    environment["REELPORT_DATA"] = str(data)
    assert run("reelport org add demo", environment, tmp_path).returncode == 0
    create = "reelport key create --org demo --permissions create_reports --json"
    key = json.loads(run(create, environment, tmp_path).stdout)["id"]
    old = (data / "secret.key").read_bytes()
    (data / "secret.key").unlink()
    assert "made under another secret" in run(create, environment, tmp_path).stderr
    (data / "secret.key").write_bytes(old)
    done = run(script(SECRETS).replace(" KEY ", f" {key} "), environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (data / "secret.key").read_bytes() != old


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Its links lead somewhere, its files of `deploy/` exist, its variables are settings."""
    text = page.read_text("utf-8")
    for target, anchor in LINK.findall(text):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, anchor
    for name in re.findall(r"\bdeploy/[\w./@*-]*\w", text):
        assert list(ROOT.glob(name)) or list(ROOT.glob(f"{name}*")), name
    known = {variable_name(name) for name in setting_names()} | OTHERS
    assert set(re.findall(r"\bREELPORT_[A-Z_]+\b", text)) <= known


@pytest.mark.parametrize(("place", "test"), ELSEWHERE.items())
def test_what_a_page_says_is_run_elsewhere_is_run_there(place: str, test: str) -> None:
    """The test reads just the pages that name it."""
    marked = {page.stem for page in PAGES for _, named, _ in FENCE.findall(page.read_text("utf-8")) if named == place}
    read = set(re.findall(r'commands\("([\w-]+)"', (ROOT / "tests" / test).read_text("utf-8")))
    assert marked == read


def test_every_page_is_in_the_list() -> None:
    """A page that nothing leads to is one that nobody reads."""
    listed = set(re.findall(r"\]\((\w[\w-]*\.md)\)", (ROOT / "docs" / "operate" / "README.md").read_text("utf-8")))
    assert listed == {page.name for page in PAGES} - {"README.md"}
