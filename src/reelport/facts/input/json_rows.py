"""Parse JSON lines as rows of texts; numbers keep their spelling, so nothing is rounded."""

from __future__ import annotations

import json
from typing import Any


class _Number(str):
    """A JSON number, with its spelling kept."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_Number)


def parse_object(raw: bytes) -> dict[str, Any] | str:
    """Parse a line as a JSON object; return it, or the reason why the line is refused."""
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte 0x{raw[error.start]:02x} at {error.start + 1})"
    except RecursionError:
        return "it is nested too deep"
    except ValueError as error:
        return f"it is no JSON: {error}"
    return value if isinstance(value, dict) else "it is no JSON object"


def parse_row(raw: bytes, known: frozenset[str]) -> dict[str, str | None] | str:
    """Parse a line as a row; return the row, or the reason why the line is refused."""
    value = parse_object(raw)
    if isinstance(value, str):
        return value
    if _count_key_signs(raw) > len(value) and (twice := _find_repeated_keys(raw)):
        return f"{twice[0]}: the line has this key more than once"
    problems = [] if value.keys() <= known else [f"unknown column {name!r}" for name in value if name not in known]
    for name, one in value.items():
        if one is None or isinstance(one, str):
            continue
        text = _list_to_text(one)
        if text is None:
            what = "true or false" if isinstance(one, bool) else "nested"
            problems.append(f"{name}: a value that is {what} can't be taken")
        value[name] = text
    if b"\\u" in raw:
        problems += [f"{name}: {why}" for name, one in value.items() if (why := _find_bad_text(one))]
    return "; ".join(problems) or value


def _count_key_signs(raw: bytes) -> int:
    """Count the keys that a line may have: perhaps too many (a colon in a text), never too few."""
    return raw.count(b'":') + raw.count(b'" ') + raw.count(b'"\t')


def _find_repeated_keys(raw: bytes) -> list[str]:
    """Find keys repeated in an object of the line: which value is right can't be known."""
    twice: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        seen = [name for name, _ in pairs]
        twice.extend(name for name in dict.fromkeys(seen) if seen.count(name) > 1)

    json.loads(raw, object_pairs_hook=note)
    return twice


def _find_bad_text(text: str | None) -> str | None:
    """Say why an unescaped text is not valid Unicode text, if so."""
    if text is None:
        return None
    if "\0" in text:
        return "it holds a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it holds half a character (a lone surrogate)"
    return None


def _list_to_text(value: object) -> str | None:
    """Write a list of texts as JSON, without nulls; None for any other value."""
    if isinstance(value, list) and all(part is None or isinstance(part, str) for part in value):
        return json.dumps([part for part in value if part is not None], ensure_ascii=False)
    return None
