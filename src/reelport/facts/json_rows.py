"""JSON objects, one a line, as rows of texts: numbers stay as they are written, so that nothing is rounded."""

from __future__ import annotations

import json


def json_value(raw: bytes) -> object:
    """The JSON value of a line; when it is none, the reason as a text that begins with 'it is '."""
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte 0x{raw[error.start]:02x} at {error.start + 1})"
    except RecursionError:
        return "it is nested too deep"
    except ValueError as error:
        return f"it is no JSON: {error}"


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def json_row(raw: bytes, known: set[str]) -> dict[str, str | None] | str:
    """The row that a line holds, or the reason why it is none."""
    value = json_value(raw)
    if not isinstance(value, dict):
        told = isinstance(value, str) and not isinstance(value, _Number) and value.startswith("it is ")
        return str(value) if told else "it is no JSON object"
    problems = [f"unknown column {name!r}" for name in value if name not in known]
    row: dict[str, str | None] = {}
    for name, one in value.items():
        if one is None or isinstance(one, str):
            row[name] = one
        elif isinstance(one, list) and all(isinstance(part, str) for part in one):
            row[name] = json.dumps(one, ensure_ascii=False)
        else:
            what = "true or false" if isinstance(one, bool) else "nested"
            problems.append(f"{name}: a value that is {what} can't be taken")
    return "; ".join(problems) or row
