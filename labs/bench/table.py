"""The tables: one a workload, a row a figure, a column a variant. Terminal and page share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from labs.bench.results import Result
from labs.bench.stats import Latency, Summary, summary
from labs.bench.workload import Workload

NOTHING = "-"


@dataclass(frozen=True)
class Figure:
    """One row: what it is called in both languages, and how it is read from a summary."""

    label: str
    label_ko: str
    read: Callable[[Summary], str]


def number(value: float | None, digits: int = 0) -> str:
    """A figure as it is printed; a dash where there is none."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _ms(read: Callable[[Latency], float], corrected: bool = True) -> Callable[[Summary], str]:
    def text(column: Summary) -> str:
        found = column.corrected if corrected else column.uncorrected
        if found:
            return number(read(found), 1 if read(found) >= 10 else 2)
        return "void" if column.latency_runs else NOTHING

    return text


def _fate(name: str) -> Callable[[Summary], str]:
    return lambda column: number(column.fates[name])


def _delivered(column: Summary) -> int:
    return sum(column.fates.values()) - column.fates["lost"]


SERVER = (
    Figure("server CPU, % of a core", "서버 CPU, 코어의 %", lambda c: number(c.cpu * 100, 1)),
    Figure("server memory, MB", "서버 메모리", lambda c: number(c.memory_bytes / 1e6, 1)),
)

IDLE = (
    (
        Figure(
            "requests per minute",
            "분당 요청",
            lambda c: number(c.per_minute(c.steady.requests), 1),
        ),
        Figure(
            "bytes up per minute",
            "분당 올라간 바이트",
            lambda c: number(c.per_minute(c.steady.up)),
        ),
        Figure(
            "bytes down per minute",
            "분당 내려온 바이트",
            lambda c: number(c.per_minute(c.steady.down)),
        ),
    ),
    (
        Figure(
            "to join: connections",
            "입장: 연결",
            lambda c: number(c.per_client(c.joining.connections), 1),
        ),
        Figure(
            "to join: requests",
            "입장: 요청",
            lambda c: number(c.per_client(c.joining.requests), 1),
        ),
        Figure(
            "to join: bytes up",
            "입장: 올라간 바이트",
            lambda c: number(c.per_client(c.joining.up)),
        ),
        Figure(
            "to join: bytes down",
            "입장: 내려온 바이트",
            lambda c: number(c.per_client(c.joining.down)),
        ),
    ),
    SERVER,
)

TALK = (
    (
        Figure("messages, all runs", "메시지, 모든 실행", lambda c: number(c.messages)),
        Figure("deliveries, all runs", "전달, 모든 실행", lambda c: number(_delivered(c))),
        Figure("lost", "잃음", _fate("lost")),
        Figure("duplicated", "중복", _fate("duplicate")),
        Figure("reordered", "순서 바뀜", _fate("reordered")),
        Figure("recovered", "끊겼다 이어받음", _fate("recovered")),
        Figure("late", "늦음", _fate("late")),
    ),
    (
        Figure("requests, all clients", "요청, 모두 합쳐", lambda c: number(c.steady.requests)),
        Figure(
            "bytes up per client",
            "올라간 바이트, 클라이언트당",
            lambda c: number(c.per_client(c.steady.up)),
        ),
        Figure(
            "bytes down per client",
            "내려온 바이트, 클라이언트당",
            lambda c: number(c.per_client(c.steady.down)),
        ),
        Figure(
            "bytes per delivery",
            "전달 하나당 바이트",
            lambda c: number(c.per_delivery(c.steady.both)),
        ),
        Figure(
            "overhead ratio",
            "오버헤드 비율",
            lambda c: number(c.overhead, 1),
        ),
    ),
    (
        Figure("latency p50, ms", "지연 p50", _ms(lambda found: found.p50_ms)),
        Figure("latency p95, ms", "지연 p95", _ms(lambda found: found.p95_ms)),
        Figure("latency p99, ms", "지연 p99", _ms(lambda found: found.p99_ms)),
        Figure("latency max, ms", "지연 최대", _ms(lambda found: found.max_ms)),
        Figure("uncorrected p50, ms", "보정 전 p50", _ms(lambda found: found.p50_ms, False)),
        Figure("uncorrected p99, ms", "보정 전 p99", _ms(lambda found: found.p99_ms, False)),
    ),
    SERVER,
)


def groups(workload: Workload) -> tuple[tuple[Figure, ...], ...]:
    """The rows of a workload's table, in groups."""
    return IDLE if workload.arrivals == "none" else TALK


def columns(result: Result, workload: Workload) -> list[Summary]:
    """The columns of a workload's table: the variants that were run."""
    found = (summary(result, workload, variant) for variant in result.variants)
    return [column for column in found if column]


def caption(result: Result, workload: Workload) -> Iterator[tuple[str, str]]:
    """What a table measures and how, line by line in both languages: English, Korean."""
    shown = columns(result, workload)
    tapped = max((column.byte_runs for column in shown), default=0)
    yield (
        f"Load: open loop, seed {result.seed}: {workload.load_model}.",
        f"부하: 응답을 기다리지 않는 열린 루프, 시드 {result.seed}, "
        f"클라이언트 {workload.clients}, {workload.duration_s:g}초.",
    )
    if workload.settings:
        changed = ", ".join(f"{key} {value:g}" for key, value in workload.settings.items())
        yield (
            f"Settings other than the defaults: {changed}.",
            f"기본값과 다른 설정: {changed}.",
        )
    yield (
        "Bytes: at the TCP socket, HTTP heads and WebSocket frames included, TCP and IP headers "
        f"not; counted by a relay, {_runs(tapped)} of its own. Request heads are those of the "
        "Python clients; browsers send longer ones.",
        "바이트: TCP 소켓에서 센 것. HTTP 헤더와 WebSocket 프레임은 포함, TCP/IP 헤더는 제외. "
        "요청 헤더는 Python 클라이언트의 것이며, 브라우저는 더 길다.",
    )
    yield from _silent(workload) if not workload.messages else _spoken(shown, workload)


def _silent(workload: Workload) -> Iterator[tuple[str, str]]:
    yield (
        "Requests, connections and bytes are those of one client. Per minute: from the "
        f"{workload.duration_s:g} s after everyone has joined. To join: the announcements of "
        "everyone else's join included.",
        "요청, 연결, 바이트는 클라이언트 하나의 값. 분당: 모두 입장한 뒤의 값. 입장: 다른 사람의 "
        "입장 알림을 포함한다.",
    )


def _spoken(shown: list[Summary], workload: Workload) -> Iterator[tuple[str, str]]:
    timed = max((column.latency_runs for column in shown), default=0)
    counts = [column.corrected.count for column in shown if column.corrected]
    sample = f"; {min(counts):,} deliveries a variant" if counts else ""
    yield (
        "Latency: from the intended moment of sending to the receiver's reading, on the monotonic "
        f"clock of one host, no relay, {_runs(timed)}{sample}. All receivers share one "
        "Python process: their own time is in it. Uncorrected: from the moment the sending began.",
        "지연: 보내기로 한 순간부터 받는 쪽이 읽은 순간까지, 같은 컴퓨터의 단조 시계로. 받는 "
        "클라이언트들이 쓰는 시간도 들어 있다. 보정 전: 실제로 보내기 시작한 순간부터.",
    )
    if workload.arrivals == "burst":
        yield (
            "What one burst brings to one client comes together: its deliveries are not "
            f"independent. A run has {workload.messages // workload.burst_messages} bursts.",
            "한 번의 몰림은 한 클라이언트에 한꺼번에 도착하므로 그 전달들은 서로 독립이 아니다.",
        )
    yield (
        f"Bytes and requests: over {workload.duration_s + workload.tail_s:g} s, empty answers "
        "included. Overhead ratio: all of them by the bytes of text delivered. Late: after "
        f"{workload.late_s:g} s. CPU and memory: of the latency runs"
        f"{', their median' if timed > 1 else ''}{'' if timed > 2 else '; too few for intervals'}.",
        f"바이트와 요청: {workload.duration_s + workload.tail_s:g}초 동안, 빈 응답 포함. "
        "오버헤드 비율: 모든 바이트 ÷ 전달된 글의 바이트.",
    )


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def table(result: Result, workload: Workload) -> Table:
    """A workload's table for the terminal; five variants fit into 80 columns."""
    shown = columns(result, workload)
    grid = Table(
        title=f"{workload.name}: {workload.question}",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    grid.add_column("", no_wrap=True)
    for column in shown:
        grid.add_column(column.variant, justify="right")
    for group in groups(workload):
        for figure in group:
            grid.add_row(figure.label, *(figure.read(column) for column in shown))
        grid.add_section()
    return grid
