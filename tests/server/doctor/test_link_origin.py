"""What links begin with, and when that leads nowhere."""

from __future__ import annotations

import pytest

from reelport.server.doctor.start_checks import find_link_fault
from reelport.server.settings import read_settings


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("http://127.0.0.1:8642", "0.0.0.0"),  # noqa: S104 - as an operator sets it
        ("http://localhost", "::"),
        ("http://[::1]:8642", "10.0.0.4"),
        ("https://reports.localhost/", "0.0.0.0"),  # noqa: S104 - the same
        ("reports.example.com", "127.0.0.1"),
        ("ftp://reports.example.com", "127.0.0.1"),
        ("https://", "127.0.0.1"),
        ("https://[::1", "127.0.0.1"),
        ("http://reports.example.com:99999", "127.0.0.1"),
        ("http://reports.example.com:0", "127.0.0.1"),
    ],
)
def test_links_that_lead_nowhere_are_told(public_url: str, host: str) -> None:
    """A sentence with the setting that is to be changed."""
    fault = find_link_fault(read_settings(public_url=public_url, host=host))
    assert fault is not None
    assert public_url in fault
    assert "REELPORT_PUBLIC_URL" in fault


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("", "0.0.0.0"),  # noqa: S104 - the same
        ("http://127.0.0.1:8642", "127.0.0.1"),
        ("http://localhost:8642", "127.0.0.1"),
        ("https://reports.example.com", "0.0.0.0"),  # noqa: S104 - the same
        ("https://reports.example.com", "127.0.0.1"),
        ("https://10.0.0.4", "10.0.0.4"),
    ],
)
def test_links_that_may_lead_somewhere_are_left_alone(public_url: str, host: str) -> None:
    """A service behind a proxy on its own machine is a usual thing."""
    assert find_link_fault(read_settings(public_url=public_url, host=host)) is None


@pytest.mark.parametrize("before", ["user:s3cr3t@", "user@", ":s3cr3t@", "@"])
def test_an_address_with_a_password_is_told_without_it(before: str) -> None:
    """It would be in every link, and the sentence goes to logs."""
    fault = find_link_fault(read_settings(public_url=f"https://{before}reports.example.com"))
    assert fault is not None
    assert "REELPORT_PUBLIC_URL" in fault
    assert "s3cr3t" not in fault
