"""Which service a client speaks to, and what that means."""

from __future__ import annotations

import pytest

from reelport.client.config import Settings


@pytest.mark.parametrize(
    ("url", "reelport"),
    [
        ("https://partner.api.dailymotion.com", False),
        ("https://dailymotion.com", False),
        ("https://graphql.API.Dailymotion.com/", False),
        ("https://notdailymotion.com", True),
        ("https://dailymotion.com.example.org", True),
        ("http://127.0.0.1:8642", True),
        ("http://[::1]:8642/reports/", True),
    ],
)
def test_which_hosts_may_be_reelport(url: str, *, reelport: bool) -> None:
    """Every host but Dailymotion's own may turn out to be a Reelport service."""
    settings = Settings.read({}, url, "key", "secret")
    assert settings.vendor is not reelport
    assert not settings.url.endswith("/")
