"""How the property tests run: the same examples each time, without a limit of time."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

PROPERTY = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
MACHINE = settings(PROPERTY, max_examples=60, stateful_step_count=40)
