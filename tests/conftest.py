"""What all tests share: the number of examples that Hypothesis tries."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines that run the tests are slow and noisy: no deadline for one example.
settings.register_profile("reelport", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reelport")
