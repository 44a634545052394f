"""The figures of a table: what each is called in both languages, and how it is read.

Terminal, page and Markdown share them. A group of rows is about one thing; a row that no
variant has anything for is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from labs.bench.cells import NOTHING, number, short, span
from labs.bench.results import Result
from labs.bench.stats import Latency
from labs.bench.summary import HALF_A_BYTE, Summary
from labs.wire.traffic import DIRECTIONS, LAYERS, PHASES, Segments

VOID = "void"
UP_DOWN_KO = {"up": "올라감", "down": "내려옴"}
LAYERS_KO = {
    "http_head": "HTTP 헤더",
    "chunk": "청크 구분",
    "framing": "프레임·패킷 구분",
    "envelope": "글을 싸는 JSON",
    "text": "글",
    "content": "페이지 내용",
    "opaque": "해석 못 한 것",
}
PHASES_KO = {"handshake": "연결 수립", "join": "입장", "heartbeat": "연결 유지", "close": "퇴장"}


@dataclass(frozen=True)
class Figure:
    """One row: what it is called in both languages, and how it is read from a summary."""

    label: str
    label_ko: str
    read: Callable[[Summary], str]


@dataclass(frozen=True)
class Group:
    """Rows that are about one thing, and what; the title may be empty."""

    title: str
    title_ko: str
    rows: list[Figure]


def _ms(value: float) -> str:
    return number(value, 1 if value >= 10 else 2)


def _latency(label: str, label_ko: str, taken: str, percentile: str) -> Figure:
    """A percentile of what a summary has `taken`; "void" where a wrong fate forbids one."""

    def read(column: Summary) -> str:
        found: Latency | None = getattr(column, taken)
        if found:
            return _ms(getattr(found, percentile))
        return VOID if column.void else NOTHING

    return Figure(label, label_ko, read)


def _interval(column: Summary) -> str:
    found = column.interval
    return span(found.low, found.high) if found else NOTHING


def _against(column: Summary) -> str:
    return short(column.against.value) if column.against else NOTHING


def _against_span(column: Summary) -> str:
    found = column.against
    return span(found.low, found.high) if found else NOTHING


def by_layer(shown: Sequence[Summary]) -> list[Figure]:
    """A row for each layer and direction that occurs, which add up to the bytes."""
    return [
        Figure(f"{way} {layer}", f"{LAYERS_KO[layer]}, {UP_DOWN_KO[way]}", _layer(way, layer))
        for way, layer in product(DIRECTIONS, LAYERS)
        if any(column.steady.of(way, layer) for column in shown)
    ]


def _layer(way: str, layer: str) -> Callable[[Summary], str]:
    def read(column: Summary) -> str:
        amount = column.steady.of(way, layer)
        if not column.workload.messages:
            return number(column.per_minute(amount))
        return number(column.per_delivery(amount), 1)

    return read


def floor(result: Result) -> list[Figure]:
    """The bare loopback's round trip: a delivery passes it twice too, up and down."""
    if result.floor is None:
        return []
    text = _ms(result.floor.ping.p50_us / 1_000)
    return [Figure("floor: TCP p50, ms", "바닥값: TCP 왕복 p50", lambda _: text)]


def _figure(
    label: str, label_ko: str, read: Callable[[Summary], float | None], digits: int = 0
) -> Figure:
    return Figure(label, label_ko, lambda column: number(read(column), digits))


def _fate(label: str, label_ko: str, fate: str) -> Figure:
    return _figure(label, label_ko, lambda column: column.fates[fate])


def _delivered(column: Summary) -> int:
    return sum(column.fates.values()) - column.fates["lost"]


def _phase(phase: str, phase_ko: str) -> Figure:
    return _figure(phase, phase_ko, lambda c: c.per_client(c.whole.of(phase=phase)))


def _causes(column: Summary) -> str:
    found = column.causes
    # On two lines: with a blank it would be the widest cell of the table.
    return max(found, key=lambda way: abs(found[way])).replace("/", "\n") if found else NOTHING


def _each(label: str, label_ko: str, name: str) -> Figure:
    return _figure(label, label_ko, lambda column: column.predicted_each.get(name) or None)


def _entering(column: Summary) -> float | None:
    known = bool(column.predicted_each)
    entering = column.whole.of(phase="handshake") + column.whole.of(phase="join")
    return column.per_client(entering) if known else None


def _quiet(column: Summary) -> float | None:
    silent = column.predicted_each and not column.workload.messages
    return column.per_minute(column.steady.both) if silent else None


def _difference(column: Summary) -> str:
    gap = column.difference
    return f"{gap:+,.0f}" if gap and abs(gap) >= HALF_A_BYTE else number(gap)


def _tcp(label: str, label_ko: str, read: Callable[[Segments], int]) -> Figure:
    return _figure(label, label_ko, lambda c: read(c.segments) if c.segments else None)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


IDLE = Group(
    "",
    "",
    [
        _figure("requests a minute", "분당 요청", lambda c: c.per_minute(c.steady.requests), 1),
        _figure("bytes up a minute", "분당 올라간 바이트", lambda c: c.per_minute(c.steady.up)),
        _figure("bytes down a minute", "분당 내려온 바이트", lambda c: c.per_minute(c.steady.down)),
    ],
)

JOINING = Group(
    "",
    "",
    [
        _figure(
            "to join: connections",
            "입장까지: 연결",
            lambda c: c.per_client(c.joining.connections),
            1,
        ),
        _figure(
            "to join: requests", "입장까지: 요청", lambda c: c.per_client(c.joining.requests), 1
        ),
        _figure(
            "to join: bytes up", "입장까지: 올라간 바이트", lambda c: c.per_client(c.joining.up)
        ),
        _figure(
            "to join: bytes down", "입장까지: 내려온 바이트", lambda c: c.per_client(c.joining.down)
        ),
    ],
)

PHASE_ROWS = Group(
    "by phase, a client",
    "단계별, 클라이언트당",
    [_phase(phase, PHASES_KO[phase]) for phase in PHASES if phase in PHASES_KO],
)

PREDICTED = Group(
    "all bytes, predicted",
    "모든 바이트, 예측과 비교",
    [
        _figure("predicted", "예측", lambda c: sum(c.predicted.values()) if c.predicted else None),
        _figure("measured", "잰 값", lambda c: c.steady.both if c.predicted else None),
        Figure("difference", "차이", _difference),
        Figure("mostly in", "주로 차이가 난 층", _causes),
    ],
)

PREDICTED_EACH = Group(
    "predicted bytes, each",
    "예측한 바이트, 하나씩",
    [
        _each("handshake and join", "연결 수립과 입장", "handshake"),
        _figure("... as measured", "... 잰 값", _entering),
        _each("message sent", "보낸 메시지", "message"),
        _each("message delivered", "전달된 메시지", "delivery"),
        _each("quiet minute", "말 없는 1분", "idle_minute"),
        _figure("... as measured", "... 잰 값", _quiet),
    ],
)

TCP = Group(
    "TCP, whole run",
    "TCP, 전체 실행",
    [
        _tcp("segments up", "세그먼트, 올라감", lambda found: found.up),
        _tcp("segments down", "세그먼트, 내려옴", lambda found: found.down),
        _tcp(
            "header bytes",
            "TCP/IP 헤더 바이트",
            lambda found: found.header_bytes_up + found.header_bytes_down,
        ),
    ],
)

FATES = Group(
    "",
    "",
    [
        _figure("messages, all runs", "메시지, 모든 실행", lambda c: c.messages),
        _figure("unsent, all runs", "차례가 오지 않음, 모든 실행", lambda c: c.unsent),
        _figure("deliveries, all runs", "전달, 모든 실행", _delivered),
        _fate("lost", "잃음", "lost"),
        _fate("duplicated", "중복", "duplicate"),
        _fate("reordered", "순서 바뀜", "reordered"),
        _fate("recovered", "끊겼다 이어받음", "recovered"),
        _fate("late", "늦음", "late"),
    ],
)

BYTES = Group(
    "",
    "",
    [
        _figure("requests, all clients", "요청, 모두 합쳐", lambda c: c.steady.requests),
        _figure("bytes up per client", "올라감, 클라이언트당", lambda c: c.per_client(c.steady.up)),
        _figure(
            "bytes down per client", "내려옴, 클라이언트당", lambda c: c.per_client(c.steady.down)
        ),
        _figure(
            "bytes per delivery", "전달 하나당 바이트", lambda c: c.per_delivery(c.steady.both)
        ),
        _figure("overhead ratio", "오버헤드 비율", lambda c: c.overhead, 1),
    ],
)

LATENCY = [
    _latency("latency p50, ms", "지연 p50", "corrected", "p50_ms"),
    Figure("p50 of runs, from-to", "실행별 p50의 구간", _interval),
    _latency("latency p95, ms", "지연 p95", "corrected", "p95_ms"),
    _latency("latency p99, ms", "지연 p99", "corrected", "p99_ms"),
    _latency("latency max, ms", "지연 최대", "corrected", "max_ms"),
    Figure("p50, x fastest", "p50, 가장 빠른 것의 배", _against),
    Figure("x fastest, from-to", "배수의 구간", _against_span),
]

UNCORRECTED = [
    _latency("uncorrected p50, ms", "보정 전 p50", "uncorrected", "p50_ms"),
    _latency("uncorrected p99, ms", "보정 전 p99", "uncorrected", "p99_ms"),
]

PROBES = [
    _latency("probes' p50, ms", "읽기 쉬운 클라이언트 p50", "probes", "p50_ms"),
    _latency("probes' p99, ms", "읽기 쉬운 클라이언트 p99", "probes", "p99_ms"),
]

BACK = [
    _latency("back again p50, ms", "돌아오기까지 p50", "back", "p50_ms"),
    _latency("back again p99, ms", "돌아오기까지 p99", "back", "p99_ms"),
]

SERVER = Group(
    "",
    "",
    [
        _figure(
            "server CPU, % a core", "서버 CPU, 코어의 %", lambda c: _scaled(c.server.cpu, 100), 1
        ),
        _figure(
            "server memory, MB", "서버 메모리", lambda c: _scaled(c.server.memory_bytes, 1e-6), 1
        ),
        _figure(
            "memory/connection, kB",
            "연결 하나의 메모리",
            lambda c: _scaled(c.server.connection_bytes, 1e-3),
            1,
        ),
    ],
)
