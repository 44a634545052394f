"""The prediction for a whole window: its rooms, their schedule, and the parts of a transport."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from labs.bench.heads import Profile
from labs.bench.prediction.frames import Frames
from labs.bench.prediction.models import held, polled, pushed, sent
from labs.bench.prediction.packets import PacketsInBodies, PacketsInFrames
from labs.bench.prediction.requests import LongPolls, Requests
from labs.bench.prediction.streams import Streams
from labs.bench.prediction.tally import Said, Scene, Tally
from labs.bench.prediction.window import Counts, Parts, Room, Window
from labs.bench.schedule import Tick
from labs.bench.workload import Workload
from labs.errors import UsageError
from labs.settings import Settings
from labs.variants import Variant, load

Number = int | float

HOST = "127.0.0.1:50000"
"""Stands for any address as long: the system gives out ports of five digits."""

AGE_S = 0.25
"""How long before a window everyone has joined, unless said otherwise."""

MINUTE_S = 60.0


class Prediction(msgspec.Struct, frozen=True):
    """What is expected of one variant under one workload.

    `cells` are the window's bytes as in `labs.wire.traffic.Traffic`, whole where everything
    they rest on is known. The others are means of one client, by `direction/layer`:
    `per_message` of a message sent, its ack included; `per_delivery` of a message handed out to
    one client, the poll that brings it included; `per_idle_minute` of a minute in which nobody
    talks; `per_handshake` of opening the transport and joining. `parts` are, by name and cell,
    what one heartbeat or empty poll more would add, and one batch or poll with news more for the
    same messages.
    """

    variant: str
    profile: str
    cells: dict[str, Number]
    per_message: dict[str, Number]
    per_delivery: dict[str, Number]
    per_idle_minute: dict[str, Number]
    per_handshake: dict[str, Number]
    counts: Counts
    parts: dict[str, dict[str, Number]]


class Form(NamedTuple):
    """A transport: the parts it has, and the model of how often they happen."""

    parts: Callable[[Scene], Any]
    spread: Callable[[Any, Room, Window, float | None], None]


FORMS = {
    "polling": Form(Requests, polled),
    "longpolling": Form(LongPolls, held),
    "streaming": Form(Streams, pushed),
    "websocket_chat": Form(Frames, pushed),
    "socketio_chat": Form(PacketsInFrames, pushed),
}
"""By package."""


def predict(
    workload: Workload,
    variant: str,
    ticks: Sequence[Tick],
    profile: Profile,
    phases: Sequence[float] | None = None,
    *,
    start_s: float | None = None,
    due_s: Sequence[float] | None = None,
    age_s: float = AGE_S,
    host: str = HOST,
    stamp_bytes: float | None = None,
) -> Prediction | None:
    """The bytes of a window of `duration_s + tail_s`, with the messages of a schedule.

    Light clients poll at `phases` of the interval (see `labs.bench.schedule`) on the monotonic
    clock, so with the moment `start_s` at which the window begins, their polls are counted
    exactly. Those of the others are expected, over a uniformly random phase. Everything else is
    exact if everyone had joined `age_s` before. `due_s` overrules all this: when, after the
    start, each client's first poll or heartbeat is due, or its held poll ends.

    `host` is what stands in `Host`; `stamp_bytes` the length of Engine.IO's query parameter `t`,
    the profile's mean unless given. None where there is no closed form: for what is compressed,
    for clients that are cut off, for closed loops (which send what the answers let them), for
    variants of other packages. Raises `UsageError` for an unknown variant.
    """
    loaded = load(variant)
    settings = loaded.settings(Settings(**workload.settings))
    form = form_of(loaded, settings)
    if form is None or workload.cut_at_s is not None or workload.loop == "closed":
        return None
    due: Sequence[float | None] = due_s or [None] * workload.clients
    if form.spread is polled and not due_s:
        due = _due_s(workload, settings, phases, start_s)
    window = Window(workload.duration_s + workload.tail_s, due, age_s)
    joining = Tally()
    for number, room in enumerate(rooms(workload, ticks)):
        name = settings.room if workload.rooms == 1 else f"room{number}"
        scene = _scene(loaded, settings.but(room=name), profile, host, stamp_bytes)
        parts: Parts = form.parts(scene)
        sent(parts, room, window)
        form.spread(parts, room, window, settings.coalesce_ms)
        joining.take(_joined(parts, [f"client{member}" for member in room.members]))
    counts = window.counts
    counts.requests = window.tally.requests
    return Prediction(
        variant=variant,
        profile=profile.name,
        cells=_tidy(window.tally.cells),
        per_message=_mean(window.sending, counts.messages),
        per_delivery=_mean(window.delivering, counts.deliveries),
        per_idle_minute=_mean(_idle(form, parts, room.head), 1),
        per_handshake=_mean(joining, workload.clients),
        counts=Counts(**_tidy(msgspec.to_builtins(counts))),
        parts=_named(form, parts, room.head, window),
    )


def _due_s(
    workload: Workload,
    settings: Settings,
    phases: Sequence[float] | None,
    start_s: float | None,
) -> list[float | None]:
    """When each light poller asks first: it goes by the clock."""
    interval_s = settings.interval_s
    if phases is None or start_s is None:
        return [None] * workload.clients
    first_s = [(phase - start_s / interval_s) % 1 * interval_s for phase in phases]
    return [None if client < workload.probes else at_s for client, at_s in enumerate(first_s)]


def handshake(
    variant: str,
    profile: Profile,
    name: str,
    present: Sequence[str] = (),
    settings: Settings | None = None,
    *,
    host: str = HOST,
    offset: int | None = None,
    stamp_bytes: float | None = None,
) -> dict[str, Number]:
    """The cells of one client's handshake and join; announcements are left out.

    `present` are those it finds there; `offset` is its join's, the next after theirs unless
    given. Socketio over HTTP gets its own announcement with the answer to its join. Raises
    `UsageError` for an unknown variant, and for one without a closed form.
    """
    loaded = load(variant)
    own = loaded.settings(settings)
    form = form_of(loaded, own)
    if form is None:
        raise UsageError(f"there is no closed form for {variant}; measure it")
    parts: Parts = form.parts(_scene(loaded, own, profile, host, stamp_bytes))
    place = len(present) + 1 if offset is None else offset
    return _tidy(parts.handshake(name, [*present, name], place).cells)


def form_of(variant: Variant, settings: Settings) -> Form | None:
    """The form of a variant; None where there is none."""
    if settings.compress:
        return None
    if variant.package == "socketio_chat" and settings.transports == ("polling",):
        return Form(PacketsInBodies, held)
    return FORMS.get(variant.package)


def rooms(workload: Workload, ticks: Sequence[Tick]) -> list[Room]:
    """Who sits where and says what. A log begins with the joins of its room."""
    members = [range(number, workload.clients, workload.rooms) for number in range(workload.rooms)]
    heads = [len(each) for each in members]
    ends, said = list(heads), [list[Said]() for _ in members]
    numbers = Counter[int]()
    for tick in ticks:
        room = tick.sender % workload.rooms
        ends[room] += 1
        numbers[tick.sender] += 1
        if tick.at_ns < 0:  # before the window
            heads[room] += 1
            continue
        name = f"client{tick.sender}"
        one = Said(tick.at_ns / 1e9, ends[room], numbers[tick.sender], name, tick.text)
        said[room].append(one)
    return [Room(*each) for each in zip(members, said, heads, strict=True)]


def _scene(
    variant: Variant, settings: Settings, profile: Profile, host: str, stamp_bytes: float | None
) -> Scene:
    stamp_bytes = profile.stamp_bytes if stamp_bytes is None else stamp_bytes
    return Scene(profile, host, settings, variant.quiet_s(settings), stamp_bytes)


def _joined(parts: Parts, names: Sequence[str]) -> Tally:
    tally = Tally()
    for index, name in enumerate(names):
        tally.take(parts.handshake(name, names[: index + 1], index + 1))
    return tally


def _heartbeat(form: Form, parts: Any, head: int) -> tuple[Tally, float]:
    """One of them, and the seconds from one to the next."""
    if form.spread is pushed:
        return parts.heartbeat(), parts.period_s
    asked = parts.ask(head, "heartbeat")
    if form.spread is held:
        return asked.take(parts.idle()).take(parts.idle_after()), parts.period_s
    return asked.take(parts.nothing()), parts.scene.settings.interval_s


def _idle(form: Form, parts: Any, head: int) -> Tally:
    tally, period_s = _heartbeat(form, parts, head)
    return Tally().take(tally, MINUTE_S / period_s)


def _named(form: Form, parts: Any, head: int, window: Window) -> dict[str, dict[str, Number]]:
    counts = window.counts
    heartbeat, _ = _heartbeat(form, parts, head)
    named = {"heartbeat" if form.spread is pushed else "empty poll": heartbeat.cells}
    if counts.batches:
        # Two batches instead of one: another frame or poll, and brackets in place of a comma.
        more = _share(window.delivering.cells, counts.batches)
        more.pop("down/text/steady")
        more["down/envelope/steady"] = parts.around - len(",")
        named["batch pushed" if form.spread is pushed else "poll with news"] = more
    return {name: _tidy(cells) for name, cells in named.items()}


def _mean(tally: Tally, count: float) -> dict[str, Number]:
    return _tidy(_share(tally.without_phases(), count)) if count else {}


def _share(cells: Mapping[str, float], count: float) -> dict[str, float]:
    return {key: size / count for key, size in cells.items()}


def _tidy(cells: Mapping[str, float]) -> dict[str, Number]:
    """Whole numbers as such: sums of shares are whole but for the last bits of a double."""
    rounded = {key: round(size, 6) for key, size in sorted(cells.items())}
    return {key: int(size) if size == int(size) else size for key, size in rounded.items()}
