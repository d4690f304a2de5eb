"""What the Delta library's errors come to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deltalake.exceptions import DeltaError

from reelport.errors import StorageError
from reelport.facts.log.delta_log import translate_delta_errors


@pytest.mark.parametrize(("said", "told"), [("x" * 120, "x" * 120), ("x" * 121, "x" * 120 + "…"), ("no\ndump", "no")])
def test_the_first_line_of_a_message_is_told_and_cut_where_it_is_long(tmp_path: Path, said: str, told: str) -> None:
    """The library goes on with dumps of its own structures."""
    sentence = re.escape(f"plays: {told}; run reelport verify")
    with pytest.raises(StorageError, match=f"{sentence}$"), translate_delta_errors(tmp_path / "plays"):
        raise DeltaError(said)
