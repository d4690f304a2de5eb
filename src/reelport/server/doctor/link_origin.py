"""Checks the public URL of download links, as far as settings can show a fault."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from reelport.server.settings import Settings


def find_link_fault(settings: Settings) -> str | None:
    """Say why download links can't work; None when the settings show no fault."""
    if not settings.public_url:
        return None
    try:
        parts = urlsplit(settings.public_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host and (parts.username is not None or parts.password is not None):
        # Without the address: this sentence goes to logs.
        return (
            "Links begin with an address that holds a user's name or a password (REELPORT_PUBLIC_URL), which whoever "
            "gets a link would read: leave out all up to the @."
        )
    if port == 0 or not host or parts.scheme not in {"http", "https"}:
        return (
            f"Links begin with {settings.public_url} (REELPORT_PUBLIC_URL), which is no address of the web: "
            "set one such as https://reports.example.com."
        )
    if _is_local(host) and not _is_local(settings.host):
        return (
            f"Links begin with {settings.public_url} (REELPORT_PUBLIC_URL), which leads callers to their own machine, "
            f"while others may call {settings.host}: set the address that partners use, or none."
        )
    return None


def _is_local(host: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".").split(".")[-1] == "localhost"
