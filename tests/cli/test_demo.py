"""The demo's last lines: how Studio is opened over what it has left, and how one signs in."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from starlette.testclient import TestClient

from reelport.cli.demo import tell_of_studio
from reelport.cli.output.table_view import print_table
from reelport.cli.service_commands.sandbox import make_world
from reelport.client.results.tables import Table
from reelport.server.app import create_app
from reelport.server.settings import read_settings
from reelport.testing import Service


def test_the_demo_ends_by_saying_how_to_open_studio_and_sign_in(tmp_path: Path) -> None:
    """The program is there, and an API over the folder that is named lets in whom it names."""
    service, said = Service(tmp_path / "demo-output" / "service", workers=0), io.StringIO()
    console = Console(file=said, width=80)
    tell_of_studio(console, service.data, make_world(console, service, rows=100, days=1).password)
    found = re.search(
        r"(\S+) serve --data (\S+)\n +page +\S+/studio\n +e-mail +(\S+)\n +password (\S+)\n", said.getvalue()
    )
    assert found, said.getvalue()
    program, data, email, password = found.groups()
    assert Path(program).is_file()
    with TestClient(create_app(read_settings(data=Path(data), workers=0))) as browser:
        csrf = browser.get("/studio").text.partition('name="csrf" value="')[2].partition('"')[0]
        page = browser.post("/studio/sign-in", data={"csrf": csrf, "email": email, "password": password}).text
    assert "Sign out" in page


def test_a_table_leaves_the_width_of_its_console(tmp_path: Path) -> None:
    """The chart below it is drawn in that width, also where there is no terminal."""
    (tmp_path / "views.csv").write_text("day,views\n2026-07-01,3\n")
    console = Console(file=io.StringIO(), width=80)
    print_table(console, Table.of(tmp_path / "views.csv"), 1)
    assert console.width == 80
