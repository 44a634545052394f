"""How and where it was measured, in words: for captions, the page and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from labs.bench.cells import count
from labs.bench.floor_rows import describe
from labs.bench.results import Result
from labs.bench.workload import Workload
from labs.net.line import LATE_MS
from labs.wire.traffic import DIRECTIONS


class Method(NamedTuple):
    """How it was measured: paragraphs, and the same in short in Korean."""

    english: Sequence[str]
    korean: str


_ENGLISH = (
    "Each server runs in a process of its own, the clients in others, over real sockets. The "
    "schedule is drawn from the seed before anything is sent and is the same for every variant; "
    "in an open loop no message waits for an answer to another.",
    "Bytes are counted by a relay in a process of its own, in runs of their own, which share the "
    "machine with one another: bytes do not depend on speed, except that a busier server puts "
    "more messages into one answer. Every byte gets a layer and a phase by what it is, and their "
    "sum is what the sockets carried.",
    "Latency runs go one at a time and in seeded random order, without that relay, and across "
    "the emulated network where there is one; bytes are counted on bare loopback. "
    "Every delivery is measured from the moment its message was meant to be sent, so that a queue "
    "at the sender counts; the uncorrected figure stands beside it. The generator collects no "
    "garbage while the window lasts.",
    "Each message has one fate at each client: delivered, late, recovered, reordered, duplicate "
    "or lost. If one run of a variant has one of the last three, no latency of it is given.",
    "The unit is the run. Runs are repeated until the interval of the median of the runs' p50 lies "
    "within 5 % of it on either side, with at least 8 runs, or until the time budget ends. That "
    "interval is the one by order statistics, which the bootstrap's, used for ratios, does not "
    "exceed. Messages of all runs are counted; CPU and memory are medians over runs; "
    "percentiles are read from the histograms of all runs added together, never averaged.",
)
_KOREAN = (
    "서버와 클라이언트는 서로 다른 프로세스이고, 실제 소켓으로 통신한다. 언제 누가 무엇을 보낼지는 "
    "시드로 미리 정하며 모든 방식에 똑같다. 바이트는 중계기를 거치는 별도의 실행에서 세어 층과 "
    "단계로 나누고, 지연은 중계기 없이 하나씩, 무작위 순서로 잰다. 메시지를 하나라도 잃거나, "
    "중복되거나, 순서가 바뀐 방식에서는 지연을 말하지 않는다. 단위는 실행이며, 구간이 5 % 안에 "
    "들거나 시간이 다할 때까지 되풀이한다. 백분위수는 모든 실행의 히스토그램을 합쳐 읽고, "
    "평균하지 않는다."
)

METHOD = Method(_ENGLISH, _KOREAN)
"""That of `labs bench`."""

MECHANISMS = {
    "tun": "packets between two network namespaces, through a queue of ours",
    "relay": "a relay that holds bytes back",
}

LOOPS_KO = {
    "open": "응답을 기다리지 않는 열린 루프",
    "closed": "응답을 기다렸다가 다음을 보내는 닫힌 루프",
}

Rows = list[tuple[str, str]]


def load_model(workload: Workload) -> str:
    """The load in one phrase; that of a closed loop has no rate."""
    if workload.loop == "open" or not workload.messages:
        return workload.load_model
    crowd = "1 client" if workload.clients == 1 else f"{workload.clients} clients"
    rooms = "one room" if workload.rooms == 1 else f"{workload.rooms} rooms"
    return (
        f"closed loop: {crowd} in {rooms}, {workload.talkers} sending, each after the answer to "
        f"its last message and {workload.think_s:g} s more, {workload.messages} messages at most"
    )


def load_model_ko(workload: Workload) -> str:
    """The same in Korean."""
    how = {
        "none": "아무도 말하지 않음",
        "constant": f"초당 {workload.rate_per_s:g}개 일정한 간격",
        "poisson": f"초당 {workload.rate_per_s:g}개 푸아송 도착",
        "burst": f"한순간에 {workload.burst_messages}개씩, 평균 초당 {workload.rate_per_s:g}개",
    }[workload.arrivals]
    if workload.loop == "closed":
        how = f"답을 받고 {workload.think_s:g}초 뒤에 다음 말, 많아야 {workload.messages}개"
    cut = "" if workload.cut_at_s is None else f", {workload.cut_at_s:g}초에 모두 끊음"
    return (
        f"{LOOPS_KO[workload.loop]}, 클라이언트 {workload.clients}, 방 {workload.rooms}, "
        f"{how}, {workload.duration_s:g}초{cut}"
    )


def settings(workload: Workload) -> str:
    """The settings of a workload that are not the defaults, in words; empty if there are none."""
    own = [f"{key} {_text(value)}" for key, value in workload.settings.items()]
    own += [] if workload.headers == "python" else [f"request heads of {workload.headers}"]
    own += [] if workload.keep_alive else ["a connection for every request"]
    return ", ".join(own)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def carried(result: Result) -> tuple[str, str]:
    """The network between clients and server, in a few words: English, Korean."""
    if result.shaping is None:
        return "loopback of one host, not shaped", "한 컴퓨터의 루프백, 지연이나 손실을 넣지 않음"
    name = result.shaping.network.name
    return (
        f"for latency {name}, emulated; for bytes loopback",
        f"지연은 흉내 낸 {name}, 바이트는 루프백",
    )


def conditions(result: Result) -> Rows:
    """Machine, versions, seed, network and settings."""
    machine = result.machine
    rows = [
        (
            "Machine",
            f"{machine.cpu}, {machine.cores} cores, {machine.memory_bytes / 1e9:.0f} GB; "
            f"{machine.system}; {machine.kernel}",
        ),
        ("Versions", ", ".join(f"{name} {number}" for name, number in result.versions.items())),
        ("Seed", str(result.seed)),
        ("Network", carried(result)[0]),
    ]
    rows += [("Server", f"not started here: {result.url}")] if result.url else []
    for workload in result.workloads:
        own = settings(workload) or "default settings"
        rows.append((f"Workload {workload.name}", f"{load_model(workload)}; {own}"))
    return rows


def floor_rows(result: Result) -> Rows:
    """What the instrument measured of itself and of the bare loopback, empty if it did not."""
    if result.floor is None:
        return []
    return [
        (
            f"{row.label}: {row.value}{'' if row.met else f' (expected {row.expected})'}",
            f"{row.note}{'' if row.met else f' {row.advice}'}",
        )
        for row in describe(result.floor)
    ]


def _carried(result: Result, way: str) -> str:
    """What the network did in the latency runs, one way."""
    each = [run.passed[way] for run in result.runs if way in run.passed]
    packets = sum(one.counts.packets for one in each)
    if not packets:
        return "nothing"
    lost, late = sum(one.counts.lost for one in each), sum(one.late for one in each)
    overflowed = sum(one.counts.overflowed for one in each)
    return (
        f"{packets:,} packets in {count(len(each), 'latency run')}: {lost:,} lost "
        f"({lost / packets:.2%}), {overflowed:,} dropped by a full queue, {late:,} left more than "
        f"{LATE_MS:g} ms late (at most {max(one.late_max_us for one in each) / 1e3:.1f} ms)"
    )


def network_rows(result: Result) -> Rows:
    """The emulated network, nominal beside measured, empty if there was none."""
    found = result.shaping
    if found is None:
        return []
    how = MECHANISMS[found.mechanism] + (f" ({found.reason})" if found.reason else "")
    return [
        ("Name", found.network.name),
        ("Made by", f"{how}; congestion control {found.congestion_control}"),
        *((what, f"asked for {nominal}; measured {real}") for what, nominal, real in found.rows()),
        *((f"carried {way}", _carried(result, way)) for way in DIRECTIONS),
        ("What it cannot show", " ".join(found.cannot_show)),
    ]
