"""Labels of charts: what is drawn, replaced or cut, and the room that it takes."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from reelport.charts.report_chart import make_label, name_as_heading
from reelport.charts.svg import isolate
from reelport.cli.output.chart import format_number

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
    assert name_as_heading("ESTIMATED_EARNINGS_EUR") == "Estimated earnings (EUR)"
    assert (name_as_heading("ECPM_EUR"), name_as_heading("VIDEO_ID"), name_as_heading("GDPR_FULL_CONSENT_SCORE")) == (
        "eCPM (EUR)",
        "Video",
        "Full consent rate",
    )


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("  two\n\tlines ", "two lines"),
        ("", "Unknown"),
        ("e\u0301te\u0301", "été"),
        ("👍🏽 ❤\ufe0f", "👍🏽 ❤\ufe0f"),
        ("नमस्ते", "नमस्ते"),
        ("می\u200cشود", "می\u200cشود"),
        ("\u202eright", "right"),
    ],
)
def test_a_label_is_one_line(text: str, label: str) -> None:
    """Line ends and signs of control go; letters and their own marks stay."""
    assert make_label(text) == label


def test_right_to_left_text_is_isolated() -> None:
    """So that what follows on the line, a bar and a number, stays where it is; other text is as it was."""
    assert isolate("2026 شود") == "\u20682026 شود\u2069"
    assert isolate("2026 חדשות").startswith("\u2068")
    assert isolate("2026 今日") == "2026 今日"
