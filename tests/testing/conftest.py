"""What tests of the parts for tests share with those of the client: a vendor."""

from __future__ import annotations

from tests.client.conftest import vendor

__all__ = ["vendor"]
