"""What somebody gave as settings, checked: a wrong key or value is told with what it may be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, get_type_hints

import msgspec

from labs.errors import UsageError
from labs.settings import POSITIVE, Settings

_KINDS = get_type_hints(Settings)


def checked(given: dict[str, Any]) -> Settings:
    """The settings of a workload; raises `UsageError` with the key and what it may be."""
    for key, value in given.items():
        if key not in _KINDS:
            raise UsageError(f"no setting is called {key!r}; {nearest(key, _KINDS)}")
        try:
            msgspec.convert(value, _KINDS[key])
        except msgspec.ValidationError:
            raise UsageError(f"{key} is {value!r}; give {_allowed(key)}") from None
    return msgspec.convert(given, Settings)


def _allowed(key: str) -> str:
    """What a setting may be."""
    least = "above 0" if key in POSITIVE else "from 0 up"
    return {
        float: f"a number {least}",
        int: f"a whole number {least}",
        bool: "true or false",
        str: "a text",
        tuple[str, ...]: "a list of texts",
    }.get(_KINDS[key], 'a number from 0 up, or "off"')


def nearest(word: str, known: Iterable[str]) -> str:
    """Which word was meant, or which there are."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
