"""`reelport config`: settings in force and their sources; calls nothing, shows no secret."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from cyclopts import App

from reelport.cli.arguments.options import Profile, Url
from reelport.cli.arguments.print_json import PrintJson
from reelport.cli.client_commands.auth import format_setting
from reelport.cli.output.listing import print_list
from reelport.client.settings.config import HOME, resolve_home
from reelport.client.settings.layers import PARTS
from reelport.client.settings.profiles import USER_FILE, InForce, find_in_force, find_project_file
from reelport.client.settings.secrets import SECRETS_FILE

CONFIG = App(name="config", help="The settings in force, and where each comes from.", help_format="plaintext")

_NETWORK = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "NO_COLOR")
"""Environment variables that the libraries below obey."""


@CONFIG.command
def show(*, url: Url = None, profile: Profile = None, json: PrintJson = False) -> None:
    """Show every setting in force and where it comes from; of a secret only whether it is set.

    Example: reelport config show
    """
    found = find_in_force(os.environ, profile=profile, url=url)
    rows = [{"setting": name, "value": value, "source": source} for name, value, source in _list_settings(found)]
    print_list(rows, as_json=json)
    if found.trouble is not None:
        raise found.trouble


@CONFIG.command
def path(*, json: PrintJson = False) -> None:
    """Show the files that settings, secrets and memory are in, and which of them are there.

    Example: reelport config path
    """
    home = resolve_home(os.environ)
    files = {
        "user": home / USER_FILE,
        "project": find_project_file().absolute(),
        "secrets": home / SECRETS_FILE,
        "ledger": home / "ledger.db",
    }
    rows = [
        {"file": name, "there": "yes" if file.exists() else "no", "path": str(file)} for name, file in files.items()
    ]
    print_list(rows, as_json=json)


def _list_settings(found: InForce) -> Iterator[tuple[str, str, str]]:
    """Give name, value and source of each setting: ours, then those of the libraries below."""
    unused = {part for parts in PARTS.values() for part in parts} - set(found.needed)
    unused |= {part for part in ("key", "username") if part not in found.needed}
    for name, setting in found.settings.items():
        if name not in unused:
            yield name, format_setting(setting), setting.source
    yield "home", str(found.home), HOME if os.environ.get(HOME, "").strip() else "default"
    for variable in _NETWORK:
        for name in (variable, variable.lower()):
            if text := os.environ.get(name, ""):
                yield name.lower(), _without_login(text), name


def _without_login(text: str) -> str:
    """Hide the user name and password of an address."""
    login, at, rest = text.rpartition("@")
    return f"{urlsplit(login).scheme}://…@{rest}" if at else text
