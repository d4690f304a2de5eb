"""Formats counts, sizes, durations, days, lists, tables and foreign texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date

from reelport.language import N_, _, current_language, localize

_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JOINED = (
    # Letters of the scripts between Hebrew and Myanmar and between Tagalog and the Vedic signs, and their supplements.
    r"\u0590-\u109f\u1700-\u1cff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefc\U00010000-\U0001ffff"
    # Signs that are emoji too, and the sign of an emoji's style.
    r"\u00a9\u00ae\u2000-\u2bff\u3030\u303d\u3297\u3299\ufe0f"
)
"""What is written with joiners, or with signs that choose among its shapes; each of these is a part of a class."""
_UNSEEN = re.compile(
    # Always: Unicode's "default ignorable" signs but for those below, and a blank that no rule counts as one.
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u200b\u2060-\u206f\u2800\u3164\ufeff\uffa0]"
    r"|[\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e00ff]"
    r"|[\U000e01f0-\U000e0fff]"
    # Joiners and signs of an emoji's style beside letters that have no use for them, or doubled.
    rf"|(?<![{_JOINED}])[\u200c\u200d\ufe03-\ufe0f](?!\u20e3)|[\u200c\u200d]{{2}}|[\ufe00-\ufe0f]{{2}}"
    # Signs that choose a shape, beside what has but one.
    rf"|(?<![{_JOINED}{_HAN}])[\ufe00-\ufe02]|(?<![{_HAN}])[\U000e0100-\U000e01ef]|(?<![\u1820-\u18aa])[\u180b-\u180f]"
    # Letters of a flag without its flag.
    r"|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0020-\U000e007f]"
)
"""What leaves no trace where it stands: with it, two names would look the same, or one like none."""
_DIRECTION_MARK = re.compile(r"[\u200e\u200f]")
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")

NAME_RULE = "no blanks around it, no control or unseen characters, no changes of writing direction"
"""What `is_name` asks for, in words."""


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Format a number with its noun, such as `1 row` or `1,200 rows`.

    `plural` is for irregular nouns.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def round_estimate(number: int) -> int:
    """Round a number to two digits: an estimate has no more."""
    return round(number, -max(len(str(number)) - 2, 0))


def format_size(number: int) -> str:
    """Format a number of bytes, such as `1.2 MB`."""
    value = float(number)
    units = (N_("bytes"), N_("kB"), N_("MB"), N_("GB"), N_("TB"))
    place = 0
    while value >= 1000 and place < len(units) - 1:  # noqa: PLR2004 - a kilo
        value, place = value / 1000, place + 1
    return f"{localize(f'{value:.{1 if place else 0}f}')} {_(units[place])}"


def format_duration(seconds: float) -> str:
    """Format a duration, such as `4.2 s`, `12 min`, `3 h 5 min`."""
    if seconds < 120:  # noqa: PLR2004 - from two minutes on, seconds don't matter
        return f"{localize(f'{seconds:.1f}')} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def format_rough_duration(seconds: float) -> str:
    """Format an estimated duration, such as `1 s`, `40 s`, `12 min`, `3 h 5 min`."""
    return f"{max(1, round(seconds))} s" if seconds < 120 else format_duration(seconds)  # noqa: PLR2004 - as above


def advise_extra(extra: str, script: str = "") -> str:
    """Say how to add an extra, such as `arrow`, to the Reelport that is installed.

    pip keeps that one and fetches what the extra needs, wherever Reelport itself came from. `script` is what
    `EXTRAS` of `deploy/install.sh` would name, for what a service needs: what that makes has no pip.
    """
    other = f", or EXTRAS={script} deploy/install.sh DIRECTORY for a new one" if script else ""
    return f"pip install 'reelport[{extra}]' in the environment that has reelport{other}"


def format_list(names: Sequence[str]) -> str:
    """Format names for a sentence: `a`, `a and b`, `a, b and c`."""
    return _("%(most)s and %(last)s", most=", ".join(names[:-1]), last=names[-1]) if len(names) > 1 else "".join(names)


def format_choice(names: Sequence[str]) -> str:
    """Format names of which each may be: `a`, `a or b`, `a, b or c`."""
    return _("%(most)s or %(last)s", most=", ".join(names[:-1]), last=names[-1]) if len(names) > 1 else "".join(names)


def format_days(start: date, end: date) -> str:
    """Format a range of days: `4 July 2026`, `1 to 4 July 2026`, `28 June to 4 July 2026`."""
    if start == end:
        return format_day(end)
    first = format_day(start)
    if start.year == end.year:
        month = current_language().months[start.month - 1]
        first = number_day(start)
        first = first if start.month == end.month else _("%(day)s %(month)s", day=first, month=month)
    return _("%(start)s to %(end)s", start=first, end=format_day(end))


def format_day(day: date) -> str:
    """Format a day: `4 July 2026`."""
    month = current_language().months[day.month - 1]
    return _("%(day)s %(month)s %(year)s", day=number_day(day), month=month, year=day.year)


def number_day(day: date) -> str:
    """Write the number of a day in its month; French writes the first as 1er."""
    return _("1") if day.day == 1 else str(day.day)


def clean_line(text: str) -> str:
    """Put a text on one line, with blanks for controls and changes of writing direction.

    Half a character, which a file's name may hold and no output can encode, becomes a blank too.
    """
    return _STEERING.sub(" ", text)


def is_name(text: str, longest: int) -> bool:
    """Whether a text is one line that can name something, by `NAME_RULE`.

    Any script's letters count, with the joiners, marks and blanks that they are written with: `str.isprintable` refuses
    those. Beside letters that are written without them they are unseen.
    """
    return (
        text == text.strip()
        and len(text) <= longest
        and _STEERING.search(text) is None
        and _UNSEEN.search(text) is None
        and (_DIRECTION_MARK.search(text) is None or _RIGHT_TO_LEFT.search(text) is not None)
    )


def format_markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table of Markdown, without a line end behind it."""
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])
