"""Workloads: what a crowd does, as data. The same seed gives every variant the same crowd."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from labs.bench.given import checked, nearest
from labs.errors import UsageError
from labs.settings import Settings

Arrivals = Literal["none", "constant", "poisson", "burst"]
Loop = Literal["open", "closed"]
Headers = Literal["python", "chromium"]

_RANGES: dict[str, tuple[float, float]] = {
    "clients": (1, 20_000),
    "rooms": (1, 1_000),
    "senders": (0, 20_000),
    "probes": (0, 100),
    "generators": (1, 16),
    "duration_s": (0.5, 600),
    "warmup_s": (0, 60),
    "rate_per_s": (0, 100_000),
    "burst_messages": (1, 10_000),
    "think_s": (0, 60),
    "chars_median": (1, 1_900),
    "chars_sigma": (0, 3),
    "chars_most": (1, 1_900),
    "korean_share": (0, 1),
    "cut_at_s": (0, 600),
    "tail_s": (0, 60),
    "late_s": (0.01, 600),
    "drain_s": (0.1, 600),
}
"""What each number of a workload may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of load. Raises `UsageError` for a value out of range.

    `question` is what it answers. Client `i` sits in room `i % rooms`; the first `senders`
    clients talk (all if 0), a random one at each moment. The first `probes` clients are the
    readable ones of the variants; the others are light, so that the generator can be a crowd.
    """

    name: str
    question: str = ""
    question_ko: str = ""
    clients: int = 20
    rooms: int = 1
    senders: int = 0
    probes: int = 5
    generators: int = 1  # processes the clients are spread over
    duration_s: float = 2.0  # from the first intended moment to the last
    warmup_s: float = 0.2  # latency runs talk this long before, at the same rate: not timed
    arrivals: Arrivals = "poisson"
    rate_per_s: float = 25.0  # messages a second, all senders together
    burst_messages: int = 50  # burst: said at one instant, rate_per_s / burst_messages a second
    loop: Loop = "open"  # closed: a sender waits for each answer, and then think_s
    think_s: float = 0.0
    chars_median: float = 24.0  # the length of a text: lognormal, in characters
    chars_sigma: float = 0.6  # ... the standard deviation of its logarithm
    chars_most: int = 200  # ... and its longest
    korean_share: float = 0.5  # of the messages; the others are English
    cut_at_s: float | None = None  # then every light client is cut off, and comes back at once
    tail_s: float = 1.0  # byte runs go on counting this long after the last message
    late_s: float = 3.0  # delivered after this long is late
    drain_s: float = 5.0  # not delivered after this long is lost
    headers: Headers = "python"  # whose request heads the light clients send
    keep_alive: bool = True  # False: the light clients make a connection for every request
    settings: dict[str, Any] = field(default_factory=dict)  # of server and clients

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise self._wrong(f"{name} is {value:g}; give {least:g} to {most:g}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                given = getattr(self, name)
                raise self._wrong(f"{name} is {given!r}; give one of {', '.join(choices)}")
        try:
            settings = checked(self.settings)
        except UsageError as error:
            raise self._wrong(f"settings: {error}") from None
        self._check_together()
        if self.loop == "open":
            self._check_rate(settings)

    def _check_rate(self, settings: Settings) -> None:
        """A sender whom the chat would hold back keeps no schedule."""
        seconds = self.warmup_s + self.duration_s
        most = (settings.rate_per_s + settings.rate_burst / seconds) * self.talkers
        if self.arrivals != "none" and self.rate_per_s > most:
            raise self._wrong(
                f"rate_per_s is {self.rate_per_s:g} of {_senders(self.talkers)}; give 0 to "
                f"{most:g}, for the chat lets each make {settings.rate_per_s:g} requests a second "
                f"and {settings.rate_burst} at once: more senders, or settings.rate_per_s and "
                "settings.rate_burst, raise that"
            )

    def _check_together(self) -> None:
        if self.arrivals != "none" and not self.messages:
            raise self._wrong("rate_per_s is too low for a single message in duration_s")
        if self.senders > self.clients or self.rooms > self.clients:
            raise self._wrong("senders and rooms cannot be more than clients")
        if self.cut_at_s is not None and self.cut_at_s >= self.duration_s:
            raise self._wrong("cut_at_s must be before duration_s")
        special = (self.headers, self.keep_alive) != ("python", True)
        if special and self.probes:
            raise self._wrong(
                "with other headers, or without keep_alive, all clients must be light: probes = 0"
            )
        if special and self.settings.get("compress"):
            raise self._wrong(
                "light clients do not read what is compressed: leave compress, or headers and "
                "keep_alive, out"
            )

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"workload {self.name}: {what}")

    def but(self, **changes: Any) -> Workload:
        """A copy with some values changed."""
        return replace(self, **changes)

    @property
    def messages(self) -> int:
        """How many messages one run sends in its window: whole bursts, where it sends bursts."""
        if self.arrivals == "none":
            return 0
        wanted = self.rate_per_s * self.duration_s
        if self.arrivals == "burst":
            return max(1, round(wanted / self.burst_messages)) * self.burst_messages
        return round(wanted)

    @property
    def talkers(self) -> int:
        """How many clients talk."""
        return self.senders or self.clients

    def members(self, room: int) -> int:
        """How many clients sit in a room."""
        return len(range(room, self.clients, self.rooms))

    @property
    def load_model(self) -> str:
        """The load in one phrase, for captions."""
        where = "one room" if self.rooms == 1 else f"{self.rooms} rooms"
        crowd = f"{self.clients} clients in {where}"
        if self.arrivals == "none":
            return f"{self.loop} loop: {crowd}, nobody talks, {self.duration_s:g} s"
        how = {
            "constant": f"{self.rate_per_s:g} messages/s at a constant rate",
            "poisson": f"{self.rate_per_s:g} messages/s, Poisson arrivals",
            "burst": f"bursts of {self.burst_messages} messages at one instant, "
            f"{self.rate_per_s:g} messages/s on average",
        }[self.arrivals]
        cut = "" if self.cut_at_s is None else f", all cut off after {self.cut_at_s:g} s"
        return (
            f"{self.loop} loop: {crowd}, {how}, "
            f"{f'{self.senders} senders' if self.senders else 'random senders'}, "
            f"{self.chars_median:g} characters in the median, {self.korean_share:.0%} Korean, "
            f"{self.duration_s:g} s{cut}"
        )


_KINDS = get_type_hints(Workload)
_CHOICES = {name: get_args(_KINDS[name]) for name in ("arrivals", "loop", "headers")}


def _senders(number: int) -> str:
    return "1 sender" if number == 1 else f"{number} senders"


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="idle",
            question="What does staying connected cost while nobody talks?",
            question_ko="아무도 말하지 않을 때, 연결을 유지하는 데 얼마가 드는가?",
            arrivals="none",
            # Of one length, so that the window holds each client's quiet period once.
            duration_s=15.0,
            tail_s=0.0,
            settings={"hold_s": 15.0, "heartbeat_s": 15.0},
        ),
        Workload(
            name="paced",
            question="What does a message cost, and how soon is it there, in an ordinary "
            "conversation?",
            question_ko="보통의 대화에서 메시지 하나의 비용은 얼마이고, 얼마나 빨리 도착하는가?",
        ),
        Workload(
            name="burst",
            question="What happens when many people speak at the same instant?",
            question_ko="많은 사람이 같은 순간에 말하면 어떻게 되는가?",
            duration_s=1.0,
            warmup_s=0.0,
            arrivals="burst",
            rate_per_s=100.0,
        ),
        Workload(
            name="fanout",
            question="What happens when one person speaks to a thousand?",
            question_ko="한 사람이 천 명에게 말하면 어떻게 되는가?",
            clients=1_000,
            senders=1,
            duration_s=3.0,
            arrivals="constant",
            rate_per_s=10.0,
            settings={"interval_s": 1.0},
        ),
        Workload(
            name="upstream",
            question="What do many small sends cost, one after another from every client?",
            question_ko="모든 클라이언트가 짧은 말을 잇달아 보내면 얼마가 드는가?",
            clients=40,
            rooms=20,  # two to a room: what goes up outweighs what comes down
            probes=2,
            rate_per_s=400.0,
            chars_median=12.0,
            chars_sigma=0.3,
        ),
        Workload(
            name="storm",
            question="What happens when everyone is cut off, and all come back at once?",
            question_ko="모두 한꺼번에 끊겼다가 한꺼번에 돌아오면 어떻게 되는가?",
            clients=200,
            probes=2,
            duration_s=3.0,
            rate_per_s=10.0,
            cut_at_s=1.0,
        ),
        Workload(
            name="large",
            question="How do long texts travel?",
            question_ko="긴 글은 어떻게 전달되는가?",
            chars_median=1_200.0,
            chars_sigma=0.3,
            chars_most=1_900,
        ),
        Workload(
            name="korean",
            question="What does it cost when everybody writes Korean?",
            question_ko="모두 한국어로 쓰면 얼마가 드는가?",
            korean_share=1.0,
        ),
    )
}
"""The workloads that have a name."""

DEFAULT = ("idle", "paced", "burst")
"""Those of a comparison that names none."""


def find(name: str) -> Workload:
    """The workload of this name, or in this TOML file; raises `UsageError`."""
    if name in WORKLOADS:
        return WORKLOADS[name]
    if name.endswith(".toml"):
        return _read(Path(name))
    near = difflib.get_close_matches(name, WORKLOADS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(WORKLOADS)}"
    raise UsageError(f"no workload is called {name!r}; {hint} A file's name ends in .toml.")


def _read(path: Path) -> Workload:
    """A workload from a file with the keys of `Workload`; `like` names one to start from.

    TOML has no None: in `settings`, `coalesce_ms = "off"` stands for it.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a workload's name or file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    like = given.pop("like", None)
    if like is not None and like not in list(WORKLOADS):
        raise UsageError(f"{path}: like is {like!r}; give one of {', '.join(WORKLOADS)}")
    base = {each.name: getattr(WORKLOADS[like], each.name) for each in _FIELDS} if like else {}
    for key in given:
        _check_key(path, key, given[key])
    if given.get("settings", {}).get("coalesce_ms") == "off":
        given["settings"]["coalesce_ms"] = None
    try:
        return Workload(**{**base, "name": path.stem, **given})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


_FIELDS = fields(Workload)


def _check_key(path: Path, key: str, value: object) -> None:
    """Raises `UsageError` for a key there is not, or a value of the wrong kind."""
    if key not in _KINDS:
        raise UsageError(f"{path}: a workload has no {key!r}; {nearest(key, _KINDS)}")
    try:
        msgspec.convert(value, _KINDS[key])
    except msgspec.ValidationError:
        raise UsageError(f"{path}: {key} is {value!r}; give {_allowed(key)}") from None


def _allowed(key: str) -> str:
    """What a key of a file may be."""
    if key in _CHOICES:
        return f"one of {', '.join(_CHOICES[key])}"
    if key in _RANGES:
        least, most = _RANGES[key]
        whole = "a whole number from " if _KINDS[key] is int else ""
        return f"{whole}{least:g} to {most:g}"
    return {bool: "true or false", str: "a text"}.get(_KINDS[key], "a table of settings")
