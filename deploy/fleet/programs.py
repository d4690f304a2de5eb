"""The commands of the fleet's programs, and whether they answer."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deploy.fleet.part import FleetError, Part

HOST, BUCKET = "127.0.0.1", "reelport"
_EXAMPLE = Path(__file__).parents[1] / "nginx" / "reelport.conf"
_PACKAGES = {"initdb": "postgresql", "nginx": "nginx", "openssl": "openssl"}
_SYSTEM = "/usr/sbin:/sbin:/usr/bin:/bin"


def find_port() -> int:
    """Find a port that nobody has, below those that the system gives out by itself."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - keeps no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def find_missing() -> list[str]:
    """List Debian's packages that the fleet needs and this machine lacks."""
    return sorted(package for name, package in _PACKAGES.items() if _find(name) is None)


def answers_tcp(port: int) -> bool:
    """Whether somebody listens on the port."""
    with suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def answers_http(url: str) -> bool:
    """Whether a GET is answered with success."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - http
        return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's OK
    return False


def make_postgresql(folder: Path) -> tuple[Part, str]:
    """Make an empty cluster whose commits are on the disk when they return: its part, and the database's address."""
    initdb, port, data = _require("initdb"), find_port(), folder / "postgresql"
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.getuid() == 0 else None
    data.mkdir()
    if user:
        shutil.chown(data, user, user)
    words = [initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    subprocess.run(words, check=True, user=user, cwd=data, stdout=subprocess.DEVNULL)
    command = [str(Path(initdb).with_name("postgres")), "-D", str(data), "-p", str(port), "-k", str(data)]
    command += ["-c", f"listen_addresses={HOST}", "-c", "max_connections=200"]

    def is_ready() -> bool:
        words = [str(Path(initdb).with_name("pg_isready")), "-q", "-h", HOST, "-p", str(port)]
        return subprocess.run(words, check=False).returncode == 0

    return Part("postgresql", command, folder, is_ready, user=user), f"postgresql://postgres@{HOST}:{port}/postgres"


def make_object_store(folder: Path) -> tuple[Part, dict[str, str]]:
    """Make a stand-in for an object store, in memory: its part, and the variables that lead clients to it."""
    port = find_port()
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    variables = {
        "AWS_ACCESS_KEY_ID": "fleet",
        "AWS_SECRET_ACCESS_KEY": "fleet-only",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
    }

    def is_ready() -> bool:
        request = urllib.request.Request(f"{variables['AWS_ENDPOINT_URL']}/{BUCKET}", method="PUT")  # noqa: S310 - http
        with suppress(OSError), urllib.request.urlopen(request, timeout=5):  # noqa: S310 - the same
            return True
        return False

    return Part("object-store", command, folder, is_ready), variables


def make_gateway(folder: Path, store: str) -> tuple[Part, str]:
    """Make what stands between clients and the object store, and keeps nothing: its part, and where it answers.

    It can be killed, as a store goes away: the stand-in behind it has all that it holds in memory.
    """
    port, name = find_port(), "object-store-gateway"
    server = f"listen {HOST}:{port}; client_max_body_size 0; location / {{ proxy_pass {store}; proxy_http_version 1.1;"
    server += " proxy_set_header Host $http_host; proxy_request_buffering off; proxy_buffering off; }"
    command = _write_nginx(folder, name, f"server {{ {server} }}")
    return Part(name, command, folder, lambda: answers_tcp(port)), f"http://{HOST}:{port}"


def make_nginx(folder: Path, upstreams: Sequence[int]) -> tuple[Part, int, Path]:
    """Make nginx before the API processes, by the example of `deploy/nginx`: its part, port and certificate."""
    port = find_port()
    certificate = _make_certificate(folder)
    servers = "".join(f"    server {HOST}:{upstream} max_fails=1 fail_timeout=1s;\n" for upstream in upstreams)
    text = _EXAMPLE.read_text("utf-8")
    for old, new in {
        "/etc/ssl/reports.example.com": str(folder),
        "reports.example.com": "localhost",
        "    server 127.0.0.1:8642;\n": servers,
        "listen 443 ssl;": f"listen {HOST}:{port} ssl;",
        "    listen [::]:443 ssl;\n": "",
        "listen 80;": f"listen {HOST}:{find_port()};",
        "    listen [::]:80;\n": "",
    }.items():
        if old not in text:
            raise FleetError(f"{_EXAMPLE} lacks {old!r}")
        text = text.replace(old, new)
    (folder / "reelport.conf").write_text(text)
    command = _write_nginx(folder, "nginx", f"include {folder}/reelport.conf;")
    return Part("nginx", command, folder, lambda: answers_tcp(port)), port, certificate


def _write_nginx(folder: Path, name: str, http: str) -> list[str]:
    """Write a whole configuration of nginx that writes to the folder alone; the words that start it."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{name}-{kind};" for kind in kinds)
    own = f"daemon off; pid {folder}/{name}.pid; events {{}} http {{ access_log off; {paths}"
    (folder / f"{name}.conf").write_text(f"{own} {http} }}")
    return [_require("nginx"), "-e", str(folder / f"{name}.log"), "-p", str(folder), "-c", str(folder / f"{name}.conf")]


def _make_certificate(folder: Path) -> Path:
    """Make a key and a certificate of `localhost` that nobody vouches for, good for a day."""
    words = [_require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    words += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(words, check=True, capture_output=True)
    return folder / "fullchain.pem"


def _find(name: str) -> str | None:
    if name == "initdb" and (found := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        return str(found[-1])
    return shutil.which(name) or shutil.which(name, path=_SYSTEM)


def _require(name: str) -> str:
    if (found := _find(name)) is None:
        raise FleetError(f"{name} is not installed (Debian: {_PACKAGES[name]})")
    return found
