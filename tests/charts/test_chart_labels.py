"""Labels of charts: what is drawn, replaced or cut, and the room that it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport.charts.chart_labels import (
    format_number,
    isolate,
    make_label,
    name_as_heading,
    replace_undrawable,
)
from reelport.charts.png_renderer import find_missing

TEXTS = st.text(
    st.sampled_from("ab 🎬👨👩👍🏽❤☺今ÄИאخहिก1️⃣🇫🇷\u200d\ufe0f\u0301\u0338\n\u202e") | st.characters(), max_size=60
)


def test_numbers_and_names_read_well() -> None:
    """Thousands are set apart, small numbers keep two digits, names are words."""
    assert [format_number(value) for value in (0, 7, 1234567, 0.4, 1234.5, None)] == [
        "0",
        "7",
        "1,234,567",
        "0.40",
        "1,234",
        "-",
    ]
    assert name_as_heading("ESTIMATED_EARNINGS_EUR") == "Estimated earnings EUR"
    assert (name_as_heading("ECPM_EUR"), name_as_heading("VIDEO_ID"), name_as_heading("GDPR_FULL_CONSENT_SCORE")) == (
        "eCPM EUR",
        "Video",
        "GDPR full consent score",
    )


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("  two\n\tlines ", "two lines"),
        ("", "(empty)"),
        ("e\u0301te\u0301", "été"),
        ("👨\u200d👩\u200d👧 family 🇫🇷", "👨 family 🇫🇷"),
        ("👍🏽 ❤\ufe0f", "👍 ❤"),
        ("Z\u0338a\u0334l", "Zal"),
        ("a" + "\u0323" * 9, "ạ\u0323\u0323"),
        ("नमस्ते", "नमस्ते"),
        ("می\u200cشود", "می\u200cشود"),
        ("\u202eright", "right"),
    ],
)
def test_a_label_is_one_line_of_plain_characters(text: str, label: str) -> None:
    """What terminals and fonts disagree about goes; letters and their own marks stay."""
    assert make_label(text) == label


def test_right_to_left_text_is_isolated() -> None:
    """So that what follows on the line, a bar and a number, stays where it is; other text is as it was."""
    assert isolate("2026 شود") == "\u20682026 شود\u2069"
    assert isolate("2026 חדשות").startswith("\u2068")
    assert isolate("2026 今日") == "2026 今日"


def not_ascii(text: str) -> set[str]:
    """What a machine misses whose fonts have no other letters."""
    return {sign for sign in text if not sign.isascii() and sign != "□"}


def test_what_no_font_has_is_a_square_each() -> None:
    """Flags are letters, fancy letters plain ones; marks go with their letter, so that nothing overlaps."""
    assert replace_undrawable("🎬 Trailer", not_ascii) == "□ Trailer"
    assert replace_undrawable("今日 2026", not_ascii) == "□□ 2026"
    assert replace_undrawable("🇫🇷 \U0001d54f", not_ascii) == "FR X"
    assert replace_undrawable("सन्", not_ascii) == "□□"
    assert replace_undrawable("1\u20e3 ok", not_ascii) == "1 ok"
    assert replace_undrawable("दुनिया", lambda _: set()) == "दु□□", "its renderer sets spacing marks over letters"


def test_what_a_font_draws_in_some_texts_only_is_replaced_in_the_others() -> None:
    """A text is looked at again as it has become; ligatures don't keep other letters from being drawn."""
    parts = {"🎬 今日": {"🎬"}, "□ 今日": {"日"}}
    assert replace_undrawable("🎬 今日", lambda text: parts.get(text, set())) == "□ 今□"
    assert replace_undrawable("🎬 今日", lambda _: {"🎬"}) == "□ □□", "what can't be told apart is replaced"
    assert replace_undrawable("🎬 office flag", lambda _: set()) == "🎬 of\u200cf\u200cice f\u200clag"
    assert replace_undrawable("office flag", not_ascii) == "office flag"


@given(TEXTS)
def test_a_replaced_text_holds_only_what_can_be_drawn(text: str) -> None:
    """Whichever characters a machine's fonts have."""
    assert replace_undrawable(make_label(text), not_ascii).replace("□", "").isascii()


def test_the_renderer_tells_what_it_can_draw() -> None:
    """Latin letters and the square are drawn on any machine, also without fonts; a noncharacter never is."""
    assert find_missing("café □ …") == set()
    assert find_missing("café \ue123 …") == {"\ue123"} or find_missing("\ue123") == set()
    assert find_missing("plain") == set()


@pytest.mark.parametrize(
    "title",
    [
        "🎬 office flag",
        "مرحبا 🔥 2026",
        "नमस्ते दुनिया 2026",
        "今日 flag",
        "1\ufe0f\u20e3 ok",
        "👨\u200d👩\u200d👧 🇫🇷",
        "สวัสดี □",
        "שָׁלוֹם",
    ],
)
def test_no_title_leaves_a_box_of_the_renderer_in_a_picture(title: str) -> None:
    """Boxes of marks would lie over their neighbours: on any machine each is drawn, or a square of its own."""
    assert find_missing(replace_undrawable(make_label(title), find_missing)) == set()
