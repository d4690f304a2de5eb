"""Where a link leads, its path, and what to set if that is wrong; hides the signed part."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}
_NO_ADDRESS = "no web address"


def describe_link_host(link: str) -> str:
    """Return a link's scheme, host and port (`http://127.0.0.1:8642`); words if it has none."""
    parts = _split(link)
    if parts is None or not parts.hostname:
        return _NO_ADDRESS
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def path_of_link(link: str) -> str:
    """Return a link's path, which tells its file from others; all of it if it is no address."""
    parts = _split(link)
    return link if parts is None else parts.path


def advise_on_link_host(link: str, url: str, *, reelport: bool) -> str:
    """Return advice for an unreachable link to another host than `url`; else nothing.

    Other vendors may keep files at any host: only Reelport services get advice on what to set.
    """
    if not reelport or _read_host_and_port(link) == _read_host_and_port(url):
        return ""
    return (
        f"The link leads to {describe_link_host(link)}, the service was called at {describe_link_host(url)}: have "
        "its operator set REELPORT_PUBLIC_URL to the address that partners use, or the proxy pass Host and "
        "X-Forwarded-Proto."
    )


def _read_host_and_port(address: str) -> tuple[str | None, int | None] | None:
    parts = _split(address)
    return None if parts is None else (parts.hostname, parts.port or _PORTS.get(parts.scheme))


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - an invalid port raises when it is read
    except ValueError:
        return None
    return parts if parts.scheme in _PORTS else None
