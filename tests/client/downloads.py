"""A report that is downloaded: its bytes and hashes, how it is served, and what stays in its folder."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from tests.client.conftest import Server

ROWS = '2026-11-01,Plain,12\n2026-11-02,"Comma, ""quote"" and\nline",7\n2026-11-03,Émoji 🎬,1234\n'
CSV = "day,video_title,views\n" + ROWS
WHOLE = ["views.csv", "views.csv.json"]
SHA = hashlib.sha256(CSV.encode()).hexdigest()


def serve(server: Server, *bodies: bytes) -> None:
    """A finished report whose link answers with these, the last one for ever."""
    server.looks(("FINISHED", [f"{server.url}/file"]))
    server.answers["/file"] = list(bodies)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def packed(text: str) -> bytes:
    return gzip.compress(text.encode())
