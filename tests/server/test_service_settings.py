"""A service in a box takes the settings of a service and no others."""

from __future__ import annotations

import pytest

from reelport import UsageError
from reelport.testing import Service


def test_a_setting_that_is_none_is_refused() -> None:
    """A name that is mistyped would else leave the default in force and a test proving nothing."""
    with pytest.raises(UsageError) as refused:
        Service(day_limits=50, workers=0, xyz=1)
    assert str(refused.value).splitlines() == [
        "There is no setting 'day_limits'. Did you mean day_limit?",
        "There is no setting 'xyz'.",
    ]
