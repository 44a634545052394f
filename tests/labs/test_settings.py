"""What a setting may be."""

import math

import pytest

from labs.errors import UsageError
from labs.settings import Settings


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings()
    assert (settings.retention, settings.lease_s, settings.hold_s) == (1_000, 10.0, 25.0)
    assert (settings.heartbeat_s, settings.timeout_s) == (15.0, 10.0)
    assert (settings.body_bytes, settings.hard_bytes) == (32_768, 1_048_576)
    assert (settings.name_chars, settings.text_chars) == (32, 2_000)
    assert (settings.rate_per_s, settings.rate_burst) == (50.0, 100)
    assert (settings.sessions, settings.rooms, settings.connections) == (10_000, 1_000, 20_000)
    assert (settings.stall_s, settings.drain_s) == (15.0, 5.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"retention": -1},
        {"retention": 0},
        {"lease_s": 0.0},
        {"interval_s": 0.0},
        {"hold_s": 0.0},
        {"heartbeat_s": 0.0},
        {"timeout_s": 0.0},
        {"rate_per_s": 0.0},
        {"drain_s": -0.1},
        {"hold_s": math.inf},
        {"hold_s": math.nan},
        {"coalesce_ms": -1.0},
        {"interval_s": 10.0, "lease_s": 10.0},
        {"interval_s": 11.0, "lease_s": 10.0},
        {"transports": ()},
        {"transports": ("polling", "carrier pigeon")},
        {"path": "socket.io"},
        {"path": "/"},
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError) as refusal:
        Settings().but(**changes)
    assert next(iter(changes)) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_copy_leaves_the_original_alone() -> None:
    settings = Settings()
    other = settings.but(room="elsewhere", coalesce_ms=None)
    assert (settings.room, other.room, other.coalesce_ms) == ("lobby", "elsewhere", None)
    assert other.lease_s == settings.lease_s
