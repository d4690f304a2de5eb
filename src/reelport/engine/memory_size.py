"""Amounts of memory as settings write them."""

from __future__ import annotations

import re

from reelport.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])?(i)?B?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Parse an amount of memory, such as 2GB or 512MiB, to bytes. UsageError for anything else."""
    size = _SIZE.fullmatch(text)
    if size is None:
        raise UsageError(f"{text!r} is no amount of memory: write it like 2GB or 512MiB")
    number, prefix, binary = size.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index((prefix or " ").upper()))
