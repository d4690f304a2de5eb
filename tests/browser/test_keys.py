"""Keys in a real browser: made and used by an owner, with and without a script."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page
from tests.browser.studio import NARROW, OWNER, Studio, find_barriers, is_wider_than_window
from tests.patience import PATIENCE

from reelport.wire import TOKEN_PATH

pytestmark = pytest.mark.long


def _make_key(page: Page, name: str) -> tuple[str, str]:
    """Fill in the form for a new key, and return the id and the secret that are shown."""
    page.get_by_label("Name: what it is for").fill(name)
    page.get_by_text("Kind, rights and expiry").click()
    page.get_by_role("checkbox", name="access_ads").check()
    page.get_by_role("button", name="Make the key").click()
    page.wait_for_selector("#key-secret")
    page.wait_for_load_state()
    return page.inner_text("#key-id"), page.inner_text("#key-secret")


def _is_granted(studio: Studio, key_id: str, secret: str) -> bool:
    form = {"grant_type": "client_credentials", "client_id": key_id, "client_secret": secret}
    return httpx2.post(f"{studio.service.url}{TOKEN_PATH}", data=form, timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
def test_a_key_is_made_downloaded_rotated_and_revoked(studio: Studio, script: bool) -> None:
    """Each secret gets tokens, and is gone when its page is loaded again; at last no token is granted."""
    page = studio.open("/studio/keys", OWNER, script=script)
    key_id, secret = _make_key(page, f"Script {script}")
    with page.expect_download() as loading:
        page.get_by_role("button", name="Download as .env").click()
    assert f"REELPORT_API_SECRET={secret}\n" in Path(loading.value.path()).read_text("utf-8")
    assert page.get_by_role("button", name="Copy the secret").is_visible() is script
    page.reload()
    assert secret not in page.content()
    page.goto(f"{studio.service.url}/studio/keys/{key_id}")
    studio.follow(page.get_by_role("button", name="Make a second secret"))
    second = page.inner_text("#key-secret")
    assert _is_granted(studio, key_id, secret)
    assert _is_granted(studio, key_id, second)
    studio.follow(page.get_by_role("link", name="I have it"))
    page.get_by_role("button", name="Revoke…").click()
    studio.follow(page.get_by_role("button", name="Revoke it"))
    assert page.url.endswith("/studio/keys")
    assert not _is_granted(studio, key_id, second)


def test_the_pages_of_a_key_are_open_to_everybody(studio: Studio) -> None:
    """The list, the key, its secret and the question before its end, narrow and dark."""
    page = studio.open("/studio/keys", OWNER)
    page.set_viewport_size(NARROW)
    page.emulate_media(color_scheme="dark")
    key_id, _ = _make_key(page, "A name that is long enough to be broken on a narrow page, 動画")
    wrong = {"secret": find_barriers(page)}
    too_wide = {"secret"} if is_wider_than_window(page) else set()
    for path in ("/studio/keys", f"/studio/keys/{key_id}"):
        page.goto(f"{studio.service.url}{path}")
        if path.endswith(key_id):
            page.get_by_role("button", name="Revoke…").click()
        wrong[path] = find_barriers(page)
        if is_wider_than_window(page):
            too_wide.add(path)
    assert not any(wrong.values()), wrong
    assert not too_wide
    assert not studio.complaints
