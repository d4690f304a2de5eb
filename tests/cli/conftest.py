"""What tests of the command line share with those of the client: a vendor, a query, a target."""

from __future__ import annotations

from tests.client.conftest import query, to, vendor

__all__ = ["query", "to", "vendor"]
