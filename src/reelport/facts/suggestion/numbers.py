"""Read texts as numbers: a column's values tell whether a comma is decimal or divides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reelport.facts.row_rules import quote_text

_WHOLE = re.compile(r"[0-9]+(\.0+)?")
_EXPONENT = re.compile(r"([0-9])(?:\.([0-9]+))?[eE]\+?([0-9]{1,2})")


@dataclass(frozen=True, slots=True)
class NumberForm:
    """A way to write numbers: thousands separator and decimal sign; `note` says how it is read."""

    group: str
    decimal: str
    note: str

    @property
    def pattern(self) -> str:
        """The regular expression of such a number, valid in Python and in DuckDB."""
        thousands = f"[1-9][0-9]{{0,2}}([{self.group}][0-9]{{3}})+"
        return f"-?([0-9]+|{thousands})([{self.decimal}][0-9]*)?([eE][+-]?[0-9]+)?"

    def is_number(self, value: str) -> bool:
        """Whether the text is a number of this form."""
        return re.fullmatch(self.pattern, value) is not None

    def is_whole(self, value: str) -> bool:
        """Whether the text is a number in this form, without a fraction or a sign."""
        plain = value.replace(self.group, "").replace(self.decimal, ".")
        return self.is_number(value) and _WHOLE.fullmatch(plain) is not None

    def to_sql(self, text: str) -> str:
        """Write SQL that gives such numbers a decimal point; other texts stay unchanged."""
        plain = f"replace({text}, {quote_text(self.group)}, '')"
        if self.decimal != ".":
            plain = f"replace({plain}, {quote_text(self.decimal)}, '.')"
        return f"CASE WHEN regexp_full_match({text}, {quote_text(self.pattern)}) THEN {plain} ELSE {text} END"


_POINT = NumberForm(",", ".", "commas taken out, as they divide thousands")
_COMMA = NumberForm(".", ",", "commas read as decimal points")
_AS_IT_IS = "numbers with decimal points taken, and those with commas left to be rejected"
_POINTS_GROUP = "points taken out, as they divide thousands"


@dataclass(frozen=True, slots=True)
class NumberReading:
    """A way to read texts as numbers: SQL, what it does, and whether most have no fraction."""

    sql: str
    note: str
    is_whole: bool


def find_number_readings(values: Sequence[str], sql: str, *, whole: bool) -> tuple[NumberReading, ...]:
    """Find the ways to read the column `sql` as numbers; only as whole ones if `whole`.

    Returns none if most values are no such numbers, and two if the values don't show what their commas mean.
    """
    forms = _find_forms(values, whole=whole)
    readings = (_make_reading(form, values, sql) for form in forms)
    return tuple(readings) if len(forms) == 1 else tuple(replace(one, note=one.note or _AS_IT_IS) for one in readings)


def _find_forms(values: Sequence[str], *, whole: bool) -> tuple[NumberForm, ...]:
    point, comma = (
        {value for value in values if (form.is_whole(value) if whole else form.is_number(value))}
        for form in (_POINT, _COMMA)
    )
    if len(point | comma) * 2 <= len(values):
        return ()
    if point - comma and not comma - point:
        return (_POINT,)
    if comma - point and not point - comma:
        return (_COMMA,)
    # A lone point is the decimal sign of nearly every export; of whole numbers it may as well divide thousands.
    is_open = point != comma or any("," in value or (whole and "." in value) for value in point)
    return (_POINT, _COMMA) if is_open else (_POINT,)


def _make_reading(form: NumberForm, values: Sequence[str], sql: str) -> NumberReading:
    is_whole = sum(map(form.is_whole, values)) * 2 > len(values)
    has_groups = any(form.group in value and form.is_number(value) for value in values)
    if form is _POINT:
        return NumberReading(form.to_sql(sql) if has_groups else sql, form.note if has_groups else "", is_whole)
    has_decimals = any(form.decimal in value for value in values)
    notes = [form.note] * has_decimals + [_POINTS_GROUP] * has_groups
    return NumberReading(form.to_sql(sql), "; ".join(notes) or form.note, is_whole)


def has_exponents(values: Sequence[str]) -> bool:
    """Whether most of the values are whole numbers, and one of them is written as `1.5e3`."""
    written = [_EXPONENT.fullmatch(value) for value in values]
    wholes = [found for found in written if found and len((found[2] or "").rstrip("0")) <= int(found[3])]
    plain = sum(_WHOLE.fullmatch(value) is not None for value in values)
    return bool(wholes) and (len(wholes) + plain) * 2 > len(values)
