"""Make a command's client: settings from its options, environment, then profiles."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from reelport.cli.arguments.options import ServiceOptions

if TYPE_CHECKING:
    from reelport.client.client import Client
    from reelport.client.session import Session
    from reelport.client.settings.config import Settings


def connect(service: ServiceOptions) -> Client:
    """Make a client for the service and key in force. Raises UsageError, AccessError."""
    from reelport.client.client import Client

    return Client(settings=read_settings(service))


def open_session(service: ServiceOptions) -> Session:
    """Open the service's session without a client, for a command that calls nothing."""
    from reelport.client.ledger import resolve_ledger
    from reelport.client.session import Clock, Session

    clock = Clock()
    return Session(read_settings(service), clock, random.random, ledger=resolve_ledger(None, os.environ, clock.now))


def read_settings(service: ServiceOptions) -> Settings:
    """Read the settings in force. Raises UsageError, AccessError where one is wrong or missing."""
    from reelport.client.settings.profiles import resolve

    return resolve(os.environ, profile=service.profile, url=service.url, insecure=service.insecure)
