"""The page for authors of integrations: its tests are tests that pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import PATIENCE

from reelport.testing.vendor import Behaviour

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-against-a-vendor.md"


@pytest.mark.long
def test_the_pages_tests_pass(tmp_path: Path) -> None:
    """All blocks together are one file of tests, as a reader would paste them."""
    text = PAGE.read_text(encoding="utf-8")
    file = tmp_path / "test_integration.py"
    file.write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)), encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(file)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # a reader may have none
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_the_page_names_every_setting() -> None:
    """A behaviour that nobody reads of is one that nobody uses."""
    text = PAGE.read_text(encoding="utf-8")
    assert not [name for name in Behaviour.__dataclass_fields__ if not re.search(rf"\b{name}\b", text)]
