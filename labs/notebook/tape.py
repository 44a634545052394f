"""A tape: what a notebook's calls answered, kept in a file, so that it can be read offline.

Each call that measures goes through `Tape.take` under a name of its own, arguments included.
Live it is made; with `LABS_FREEZE=1` its answer is kept as well; with `LABS_OFFLINE=1` nothing is
started and the answer comes from the file. Calls of the same name answer in the order in which
they were made, and then from the first again, so that a cell can be run twice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import sha256
from html import escape
from math import isinf
from pathlib import Path
from typing import Any

import msgspec

from labs.bench import results
from labs.errors import LabError

FORMAT = 1
DATA = Path("data")  # beside the notebook: a kernel works in its notebook's folder


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What one call answered."""

    call: str
    value: Any


class Frozen(msgspec.Struct, kw_only=True):
    """A notebook's answers, when they were frozen (UTC), and the machine they come from."""

    format: int
    made_at: str
    machine: str
    answers: list[Answer] = []


class Tape:
    """Where answers come from. `offline` says that nothing is measured, `file` keeps answers."""

    def __init__(self, frozen: Frozen, file: Path | None = None, offline: bool = False) -> None:
        self.frozen = frozen
        self.offline = offline
        self._file = file
        self._taken = Counter[str]()

    async def take(self, call: str, kind: Any, live: Callable[[], Awaitable[object]]) -> Any:
        """The answer of a call, of a type `kind`; `live` makes it.

        Raises `LabError` offline, for a call that was not frozen.
        """
        if self.offline:
            return self._replay(call, kind)
        answer = await live()
        if self._file:
            self.frozen.answers.append(Answer(call, _writable(msgspec.to_builtins(answer))))
            _write(self.frozen, self._file)
        return answer

    def _replay(self, call: str, kind: Any) -> Any:
        found = [answer.value for answer in self.frozen.answers if answer.call == call]
        if not found:
            raise LabError(f"{call} is not in the frozen data; run it live, without LABS_OFFLINE")
        value = found[self._taken[call] % len(found)]
        self._taken[call] += 1
        return msgspec.convert(value, kind, strict=False)  # an infinite bound is a word

    def _repr_html_(self) -> str:
        english, korean = map(escape, self._words())
        return f"<p>{english}<br>{korean}</p>"

    def __repr__(self) -> str:
        return " ".join(self._words())

    def _words(self) -> tuple[str, str]:
        made_at, machine = _moment(self.frozen.made_at), self.frozen.machine
        if self.offline:
            return (
                f"Offline: nothing is measured now; these are figures frozen at {made_at} "
                f"({machine}).",
                f"오프라인: 지금 재지 않고, {made_at}에 저장해 둔 값을 보여 준다.",
            )
        return (
            f"Live: real servers on this machine ({machine}), at {made_at}.",
            f"라이브: 이 컴퓨터의 실제 서버로 {made_at}에 잰다.",
        )


def begin(name: str) -> Tape:
    """Say at the top of a notebook which one it is; shows where its figures will come from.

    Raises `LabError` offline, where there is no frozen data of that name.
    """
    global _current
    file = DATA / f"{name}.json"
    if os.environ.get("LABS_OFFLINE"):
        _current = Tape(_read(file), offline=True)
    else:
        _current = Tape(_new(), file if os.environ.get("LABS_FREEZE") else None)
    return _current


def current() -> Tape:
    """The tape of this notebook; outside of notebooks one that is live and keeps nothing."""
    return _current or Tape(_new())


def digest(*arguments: object) -> str:
    """A few letters that stand for arguments too long for the name of a call."""
    return sha256(msgspec.json.encode(arguments, order="sorted")).hexdigest()[:8]


_current: Tape | None = None


def _moment(made_at: str) -> str:
    return f"{made_at[:16].replace('T', ' ')} UTC"


def _new() -> Frozen:
    machine = results.this_machine()
    words = f"{machine.cpu}, {machine.cores} cores, {machine.kernel}"
    return Frozen(format=FORMAT, made_at=results.now(), machine=words)


def _writable(value: Any) -> Any:
    """The same with each infinite number as a word, for JSON would make it null."""
    if isinstance(value, dict):
        return {key: _writable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_writable(each) for each in value]
    return str(value) if isinstance(value, float) and isinf(value) else value


def _read(file: Path) -> Frozen:
    try:
        frozen = msgspec.json.decode(file.read_bytes(), type=Frozen)
    except OSError as error:
        raise LabError(f"{file}: {error.strerror}; run the notebook live, or freeze it") from None
    except msgspec.MsgspecError as error:
        raise LabError(f"{file} is no frozen data of a notebook: {error}") from None
    if frozen.format != FORMAT:
        raise LabError(f"{file} has format {frozen.format}; this version reads {FORMAT}")
    return frozen


def _write(frozen: Frozen, file: Path) -> None:
    """A line an answer, so that a change of one is a change of one line."""
    file.parent.mkdir(exist_ok=True)
    head = msgspec.json.encode(msgspec.structs.replace(frozen, answers=[]))
    lines = b",\n".join(msgspec.json.encode(answer) for answer in frozen.answers)
    file.write_bytes(head.removesuffix(b"]}") + b"\n" + lines + b"\n]}\n")
