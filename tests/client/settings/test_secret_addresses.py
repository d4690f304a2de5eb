"""To which address a secret may go, and when it may go there in clear text."""

from __future__ import annotations

import pytest
from tests.client.desk import HIDDEN, Desk

from reelport.client.settings.profiles import resolve
from reelport.errors import AccessError, UsageError


def test_the_environments_secret_stays_with_the_environments_key_and_address(desk: Desk) -> None:
    """It serves a profile's key only when the environment names that address, and no other key."""
    desk.user('[profiles.a]\nurl = "https://a.example"\nkey = "key-a"\n')
    hidden = {"REELPORT_API_SECRET": HIDDEN, "REELPORT_URL": "https://a.example"}
    assert desk.source("secret", "a", **hidden) == (HIDDEN, "REELPORT_API_SECRET")
    assert desk.source("secret", "a", REELPORT_API_KEY="key-a", **hidden)[0] == HIDDEN
    assert desk.source("secret", "a", REELPORT_API_KEY="key-b", **hidden)[0] is None
    assert desk.source("secret", "a", **hidden | {"REELPORT_URL": "https://b.example"})[0] is None


@pytest.mark.parametrize(
    "secrets_of_environment",
    [
        {"REELPORT_API_KEY": "k", "REELPORT_API_SECRET": HIDDEN},
        {"REELPORT_API_KEY": "k", "REELPORT_API_SECRET": HIDDEN, "REELPORT_USERNAME": "u", "REELPORT_PASSWORD": HIDDEN},
        {"REELPORT_BEARER": HIDDEN},
    ],
)
@pytest.mark.parametrize("place", ["project", "user"])
def test_a_file_never_steers_a_secret_of_the_environment(
    desk: Desk, place: str, secrets_of_environment: dict[str, str]
) -> None:
    """An address that only a file gives gets no secret of the environment: the sentence says how it may."""
    write = {"project": desk.project, "user": desk.user}[place]
    write('[profiles.default]\nurl = "https://elsewhere.example"\n')
    variables = desk.environment | secrets_of_environment
    with pytest.raises(
        AccessError, match=r"elsewhere\.example doesn't get .*set REELPORT_URL=https://elsewhere"
    ) as caught:
        resolve(variables, folder=desk.folder)
    assert HIDDEN not in str(caught.value)
    trusted = variables | {"REELPORT_URL": "https://elsewhere.example"}
    assert resolve(trusted, folder=desk.folder).url == "https://elsewhere.example"
    assert resolve(variables, folder=desk.folder, url="https://typed.example").url == "https://typed.example"


def test_a_file_never_steers_a_secret_that_a_call_gives(desk: Desk) -> None:
    """A key given as arguments goes to the address given beside it or by the environment, and to no project's."""
    desk.project('[profiles.default]\nurl = "https://elsewhere.example"\n')
    with pytest.raises(AccessError, match="the secret of the argument"):
        resolve(desk.environment, folder=desk.folder, key="k", secret=HIDDEN)
    given = resolve(desk.environment, folder=desk.folder, key="k", secret=HIDDEN, url="https://mine.example")
    assert given.url == "https://mine.example"


def test_a_secret_kept_for_an_address_still_goes_to_it(desk: Desk) -> None:
    """What `auth login` kept belongs to one address, so a file may name that address."""
    desk.project('[profiles.default]\nurl = "https://u.example"\nkey = "k"\n')
    desk.holds({"secret of private key k": HIDDEN})
    assert desk.source("secret") == (HIDDEN, f"file ({desk.home}/secrets.json)")
    outside = {"REELPORT_API_SECRET": "of another"}
    assert desk.source("secret", **outside)[0] == HIDDEN


@pytest.mark.parametrize("url", ["http://reports.example", "http://10.0.0.7:8642", "http://localhost.example"])
def test_plain_http_to_another_machine_asks_for_insecure(desk: Desk, url: str) -> None:
    """A key in clear text is sent only where it was asked for in so many words."""
    variables = {**desk.environment, "REELPORT_URL": url, "REELPORT_API_KEY": "k", "REELPORT_API_SECRET": HIDDEN}
    with pytest.raises(UsageError, match="--insecure"):
        resolve(variables)
    assert resolve(variables, insecure=True).url == url
    assert resolve({**variables, "REELPORT_INSECURE": "1"}).url == url
    with pytest.raises(UsageError, match="REELPORT_INSECURE must be 1 or 0"):
        resolve({**variables, "REELPORT_INSECURE": "yes"})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8642", "http://127.9.9.9", "http://localhost:1", "http://[::1]:8642"]
)
def test_plain_http_to_this_machine_needs_no_word(desk: Desk, url: str) -> None:
    """Nobody is on the way to this machine itself."""
    assert resolve(desk.environment, url=url, key="k", secret=HIDDEN).url == url


def test_the_environments_password_stays_with_the_environments_account(desk: Desk) -> None:
    """It doesn't go with the account that a profile names."""
    desk.user('[profiles.a]\nkind = "public"\nkey = "k"\nusername = "a"\n')
    outside = {"REELPORT_PASSWORD": HIDDEN, "REELPORT_API_SECRET": HIDDEN}  # and Dailymotion's own address
    assert desk.source("password", "a", **outside)[0] == HIDDEN
    assert desk.source("password", "a", REELPORT_USERNAME="b", **outside)[0] is None
