"""Programs that read what is in `deploy/`, its example for nginx with a certificate of a test's own, and who lives."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "deploy" / "nginx" / "reelport.conf"
CERTIFICATES = "/etc/ssl/reports.example.com"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def find_tool(name: str, package: str) -> str:
    """A program that reads what is in `deploy/`; skips without it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: {package})")
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs: a killed one may do so for a moment more."""
    try:
        # One whose parent died stays, too, until the system's first process reaps it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def make_certificate(folder: Path, host: str, *others: str) -> Path:
    """Make a key and a certificate of a host that nobody vouches for, under the names of the example.

    Others are names of the host besides, such as `IP:192.0.2.1`.
    """
    words = [find_tool("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    words += ["-subj", f"/CN={host}", "-addext", f"subjectAltName={','.join((f'DNS:{host}', *others))}"]
    words += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(words, check=True, capture_output=True)
    return folder / "fullchain.pem"


def write_configuration(folder: Path, host: str, replaced: Mapping[str, str]) -> list[str]:
    """Write the example into a whole configuration; the words that start nginx with it."""
    nginx = find_tool("nginx", "nginx")
    text = EXAMPLE.read_text("utf-8").replace(CERTIFICATES, str(folder)).replace("reports.example.com", host)
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "reelport.conf").write_text(text)
    paths = "".join(f"{name}_temp_path {folder};" for name in TEMPORARY)
    own = f"daemon off; master_process off; pid {folder}/pid; events {{}} http {{ access_log off; {paths}"
    (folder / "nginx.conf").write_text(f"{own} include {folder}/reelport.conf; }}")
    return [nginx, "-e", str(folder / "nginx.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
