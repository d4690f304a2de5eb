"""The settings of a service: how values are read, and what is said of wrong ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reelport import UsageError
from reelport.server.setting import Secret
from reelport.server.settings import Settings, read
from reelport.testing import Service


def test_a_setting_that_is_none_is_refused() -> None:
    """A name that is mistyped would else leave the default in force and a test proving nothing."""
    with pytest.raises(UsageError) as refused:
        Service(day_limits=50, workers=0, xyz=1)
    assert str(refused.value).splitlines() == [
        "There is no setting 'day_limits'. Did you mean day_limit?",
        "There is no setting 'xyz'.",
    ]


def test_each_wrong_value_is_told_with_what_its_setting_takes() -> None:
    """One line a setting, in the order of the table; what a secret holds is never repeated."""
    wrong = {"port": "80a", "secret": "too short", "link_seconds": 0, "queue_policy": "drop", "retention_hours": "nan"}
    with pytest.raises(UsageError) as refused:
        read(**wrong, workers=65, slots=True, lease_seconds="1e999", worker_memory="2")
    assert str(refused.value).splitlines() == [
        "REELPORT_SECRET (--secret): It has at least 32 characters, and not 9.",
        "REELPORT_PORT (--port): It is a whole number from 0 to 65535, and not '80a'.",
        "REELPORT_LINK_SECONDS (--link-seconds): It is a whole number of at least 1, and not '0'.",
        "REELPORT_QUEUE_POLICY (--queue-policy): It is 'queue' or 'refuse', and not 'drop'.",
        "REELPORT_RETENTION_HOURS (--retention-hours): It is a number above 0, and not 'nan'.",
        "REELPORT_WORKERS (--workers): It is a whole number from 0 to 64, and not '65'.",
        "REELPORT_SLOTS (--slots): It is a whole number from 1 to 64, and not 'True'.",
        "REELPORT_WORKER_MEMORY (--worker-memory): It is a number and a unit, such as 2GB, and not '2'.",
        "REELPORT_LEASE_SECONDS (--lease-seconds): It is a number of at least 1, and not '1e999'.",
    ]


def test_settings_pass_through_the_environment_as_they_are(tmp_path: Path) -> None:
    """What a service hands to its workers reads back equal; nothing shows the secret."""
    given = read(data=str(tmp_path), secret="s" * 32, workers=2, retention_hours=0.001)
    assert (given.data, given.secret, given.workers) == (tmp_path, Secret("s" * 32), 2)
    environment = {name.removeprefix("REELPORT_").lower(): text for name, text in given.environment().items()}
    assert read(**environment) == given
    assert isinstance(read(**environment), Settings)
    assert replace(given, secret=None) != given
    assert "sss" not in f"{given!r} {given.secret}"
