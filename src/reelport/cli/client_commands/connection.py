"""The client that a command speaks through: what it isn't told comes from the environment, then from profiles."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reelport.client.client import Client
    from reelport.client.settings.config import Settings


def connect(url: str | None = None, profile: str | None = None, *, insecure: bool = False) -> Client:
    """A client for the service and the key that are in force. Raises UsageError or AccessError where there is none."""
    from reelport.client.client import Client

    return Client(settings=read_settings(url, profile, insecure=insecure))


def read_settings(url: str | None = None, profile: str | None = None, *, insecure: bool = False) -> Settings:
    """The settings in force. Raises UsageError or AccessError where there are none."""
    from reelport.client.settings.profiles import resolve

    return resolve(os.environ, profile=profile, url=url, insecure=insecure)
