"""Says where a report's link leads, and what to set when that is the wrong place. The signed part is never repeated."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}
_NO_ADDRESS = "no web address"


def describe_link_host(link: str) -> str:
    """The scheme, host and port of a link, `http://127.0.0.1:8642`; words for a link that has none."""
    parts = _split(link)
    if parts is None or not parts.hostname:
        return _NO_ADDRESS
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def advise_on_link_host(link: str, url: str, *, reelport: bool) -> str:
    """What to do when a link leads nowhere, where it leads to another host than `url`, the service's; else nothing.

    Another vendor may keep its files where it likes: only a Reelport service is told what to set.
    """
    if not reelport or _place(link) == _place(url):
        return ""
    return (
        f"The link leads to {describe_link_host(link)}, the service was called at {describe_link_host(url)}: have "
        "its operator set REELPORT_PUBLIC_URL to the address that partners use, or the proxy pass Host and "
        "X-Forwarded-Proto."
    )


def _place(address: str) -> tuple[str | None, int | None] | None:
    parts = _split(address)
    return None if parts is None else (parts.hostname, parts.port or _PORTS.get(parts.scheme))


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - it is read now, since a wrong one raises
    except ValueError:
        return None
    return parts if parts.scheme in _PORTS else None
