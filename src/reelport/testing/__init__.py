"""For tests of programs that call a Reporting API: a service, a misbehaving vendor.

Each is imported on its first use: the vendor needs none of the service's libraries.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reelport.testing.service import Channel, Key, Service
    from reelport.testing.vendor import Cut, Vendor

__all__ = ["Channel", "Cut", "Key", "Service", "Vendor"]

_HOMES = {"Channel": "service", "Cut": "vendor", "Key": "service", "Service": "service", "Vendor": "vendor"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
