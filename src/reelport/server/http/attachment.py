"""The header by which a browser keeps an answer as a file."""

from __future__ import annotations

from urllib.parse import quote


def format_attachment(name: str, plain: str) -> str:
    """Format a Content-Disposition with the file's name (RFC 6266), and a plain one for programs that know no other."""
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
