"""Network addresses of callers: in one spelling, and of which site one is."""

from __future__ import annotations

import ipaddress

_SITE_BITS = 64
"""Bits of an IPv6 address that one site shares: it chooses the others as it likes."""


def unmap_address(address: str) -> str:
    """Write an IPv4 address in the form of IPv6 (`::ffff:192.0.2.1`) as IPv4; keep other texts."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a socket in the file system has no address
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return address if mapped is None else str(mapped)


def find_site(address: str) -> str:
    """Return the network that one customer has: an IPv4 address, or 64 bits of IPv6."""
    unmapped = unmap_address(address)
    try:
        parsed = ipaddress.IPv6Address(unmapped)
    except ValueError:
        return unmapped
    return str(ipaddress.ip_network((parsed.packed, _SITE_BITS), strict=False))
