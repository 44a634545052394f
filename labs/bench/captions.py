"""What a table measures and how, line by line in English and Korean.

Each figure has its layer, its clock, its load model and its sample size stated here; what a
workload does not measure is not spoken of.
"""

from __future__ import annotations

from collections.abc import Sequence

from labs.bench.cells import count
from labs.bench.conditions import carried, load_model, load_model_ko, settings
from labs.bench.results import Result
from labs.bench.stats import moments
from labs.bench.summary import CROWD_LEAST, Summary, scheduled, summaries
from labs.bench.sureness import Lines, intervals, stopping
from labs.bench.workload import Workload


def caption(result: Result, workload: Workload) -> Lines:
    """What a workload's table measures and how: English, Korean."""
    shown = summaries(result, workload)
    if not shown:
        return
    yield (
        f"Load: {load_model(workload)}; seed {result.seed}.",
        f"부하: {load_model_ko(workload)}, 시드 {result.seed}.",
    )
    yield from _conditions(result, workload)
    yield from _bytes(workload, shown)
    yield from _tcp(shown)
    if workload.messages:
        yield from _latency(workload, shown)
        yield from intervals(shown)
        yield from stopping(result, workload, shown)
        yield from _floor(result)
    yield from _server(workload, shown)


def _conditions(result: Result, workload: Workload) -> Lines:
    """What is special about this workload, and the network it went over."""
    changed = settings(workload)
    if changed:
        yield f"Settings other than the defaults: {changed}.", f"기본값과 다른 설정: {changed}."
    network, network_ko = carried(result)
    yield f"Network: {network}.", f"네트워크: {network_ko}."
    if shaped := result.shaping:
        asked, found = f"{shaped.network.rtt_ms:g}", f"{shaped.rtt.median_ms:.2f}"
        yield (
            f"Its round trip: asked for at least {asked} ms, measured {found} ms in the median of "
            f"{shaped.rtt.samples}. The report says what else was measured, and what it cannot "
            "show.",
            f"왕복 시간: 적어도 {asked} ms로 정했고, {shaped.rtt.samples}번의 중앙값은 {found} ms. "
            "나머지 측정값과 보여 줄 수 없는 것은 보고서에 있다.",
        )


def _bytes(workload: Workload, shown: Sequence[Summary]) -> Lines:
    tapped = max(column.byte_runs for column in shown)
    window_s, longest_s = (
        f"{pick(column.steady_s for column in shown):.3g}" for pick in (min, max)
    )
    window_s += "" if longest_s == window_s else f"-{longest_s}"
    whose, whose_ko = ("", "")
    if not workload.messages:
        whose, whose_ko = " Figures are those of one client.", " 값은 클라이언트 하나의 것."
    yield (
        "Bytes: TCP's payload, HTTP heads and frames included, TCP and IP headers not; counted "
        f"by a relay, {count(tapped, 'run')} without warm-up, over {window_s} s, empty answers "
        f"included.{whose}",
        f"바이트: TCP가 나른 것(HTTP 헤더와 프레임 포함, TCP/IP 헤더 제외). 중계기로 {window_s}초 "
        f"동안 센 것, 빈 응답 포함, 워밍업 없는 실행 {tapped}회.{whose_ko}",
    )
    yield (
        "Layers: every byte belongs to one, so the rows add up to the bytes above. Phases: of the "
        "whole run, from the first connection to the last; other people's joins and leaves are "
        "not among them.",
        "층: 모든 바이트가 한 층에 속하므로 합이 위의 바이트와 같다. 단계: 첫 연결부터 "
        "끝까지 전체 실행의 값. 다른 사람의 입장·퇴장 알림은 빠진다.",
    )
    if any(column.predicted for column in shown):
        yield (
            "Predicted: by a closed form, from the workload and the request heads, for the window "
            "of the same run. It takes the machine to be quick: how many messages share an answer "
            "depends on how soon it can be given.",
            "예측: 부하와 요청 헤더에서 식으로 계산한, 같은 구간의 바이트. 컴퓨터가 빠르다고 본다. "
            "한 응답에 메시지가 몇 개 실리는지는 응답이 얼마나 빨리 나가느냐에 달렸기 때문이다.",
        )
    for column in shown:
        if column.causes:
            where = ", ".join(
                f"{way.replace('/', ' ')} {gone:+,.0f}" for way, gone in column.causes.items()
            )
            why = f" The most: {column.reasons[0]}." if column.reasons else ""
            yield (
                f"{column.variant} differs from its prediction, in bytes: {where}.{why}",
                f"{column.variant}: 예측과 다른 층과 바이트 {where}.",
            )


def _tcp(shown: Sequence[Summary]) -> Lines:
    found = [column.segments for column in shown if column.segments]
    if any(each.estimated for each in found):
        yield (
            "TCP segments: estimated from the bytes, for the kernel gave no count.",
            "TCP 세그먼트: 커널이 세어 주지 않아 바이트에서 어림한 것.",
        )
    elif found:
        yield (
            "TCP segments and headers: what loopback carried in the whole run, by the kernel's "
            "count. A segment there may hold 64 KB; a real network carries more of them.",
            "TCP 세그먼트와 헤더: 전체 실행에서 루프백이 나른 것, 커널이 센 값. 루프백의 "
            "세그먼트는 64 KB까지 되므로 실제 네트워크에서는 더 많다.",
        )


def _latency(workload: Workload, shown: Sequence[Summary]) -> Lines:
    counts = [column.corrected.count for column in shown if column.corrected]
    if not counts:
        return
    runs, deliveries = max(column.latency_runs for column in shown), f"{min(counts):,}"
    since, since_ko = "scheduled moment of sending", "보내기로 예정된"
    if not scheduled(workload, shown):
        since, since_ko = "moment the sending began", "보내기 시작한"
    warm, warm_ko = "", ""
    if workload.warmup_s:
        warm = f", after a warm-up of {workload.warmup_s:g} s"
        warm_ko = f", 워밍업 {workload.warmup_s:g}초"
    yield (
        f"Latency: from the {since} to the receiver's reading, on the monotonic clock of one host, "
        f"no relay that counts; {count(runs, 'run')}, {deliveries} deliveries a variant{warm}. "
        "The receivers' own time is in it.",
        f"지연: {since_ko} 순간부터 받는 쪽이 읽은 순간까지, 한 컴퓨터의 단조 시계로, 세는 "
        f"중계기 없이. 실행 {runs}회, 방식마다 전달 {deliveries}건{warm_ko}. 받는 클라이언트가 "
        "쓰는 시간도 들어 있다.",
    )
    yield from _loop(workload, shown)
    yield from _clumps(workload)
    yield (
        f"Late: after {workload.late_s:g} s. Lost: not there {workload.drain_s:g} s after the "
        "window. Overhead ratio: all bytes of the window by the bytes of text delivered.",
        f"늦음: {workload.late_s:g}초 뒤. 잃음: 구간이 끝나고 {workload.drain_s:g}초 안에 오지 "
        "않음. 오버헤드 비율: 구간의 모든 바이트 ÷ 전달된 글의 바이트.",
    )


def _loop(workload: Workload, shown: Sequence[Summary]) -> Lines:
    if workload.loop == "closed":
        yield from _closed(scheduled(workload, shown))
    else:
        yield (
            "Uncorrected: from the moment the sending began.",
            "보정 전: 실제로 보내기 시작한 순간부터.",
        )
    if 0 < workload.probes < workload.clients:
        yield (
            f"Probes: the {workload.probes} readable clients among the {workload.clients}.",
            f"읽기 쉬운 클라이언트: {workload.clients} 가운데 {workload.probes}.",
        )


def _closed(scheduled: bool) -> Lines:
    """What a closed loop leaves out; against a schedule the table shows how much."""
    if not scheduled:
        yield (
            "The loop is closed: whoever waits for a slow answer sends nothing meanwhile, so slow "
            "moments are measured too seldom (coordinated omission) and the tail is too good.",
            "닫힌 루프: 느린 응답을 기다리는 동안 보내지 않으므로 느린 순간이 덜 재어지고 "
            "(coordinated omission) 꼬리가 실제보다 좋게 나온다.",
        )
        return
    yield (
        "The loop is closed: every message has its moment in the schedule, but whoever waits for a "
        "slow answer begins the next one late. What a closed-loop tool reports is the uncorrected "
        "latency, from the moment the sending began, which leaves that waiting out. The difference "
        "between it and the latency from the scheduled moment is coordinated omission. Unsent "
        "messages, whose turn had not come when the window ended, have no latency: where there are "
        "any, both are too good.",
        "닫힌 루프: 메시지마다 예정된 순간이 있지만, 느린 응답을 기다리면 늦게 보낸다. 닫힌 루프 "
        "도구가 내는 값은 보내기 시작한 순간부터 잰 보정 전 지연이라, 그 기다림이 빠진다. 예정된 "
        "순간부터 잰 지연과의 차이가 coordinated omission이다. 구간이 끝날 때까지 차례가 오지 않은 "
        "메시지는 지연이 없으므로, 그런 메시지가 있으면 두 값 모두 실제보다 좋게 나온다.",
    )


def _clumps(workload: Workload) -> Lines:
    if workload.arrivals == "burst":
        yield (
            "What one burst brings to one client comes together: its deliveries are not "
            f"independent. A run has {moments(workload)[0]} bursts.",
            "한 번의 몰림은 한 클라이언트에 한꺼번에 도착하므로 그 전달들은 서로 독립이 아니다. "
            f"실행 하나에 몰림 {moments(workload)[0]}번.",
        )
    if workload.cut_at_s is not None:
        yield (
            f"Back again: from the cut, after {workload.cut_at_s:g} s, until the server's first "
            "answer after it, of each light client.",
            f"돌아오기까지: {workload.cut_at_s:g}초에 끊긴 순간부터 그 뒤 서버의 첫 응답까지, "
            "가벼운 클라이언트마다.",
        )


def _floor(result: Result) -> Lines:
    if result.floor is not None:
        count = f"{result.floor.ping.n:,}"
        yield (
            f"Floor: {count} round trips of 64 bytes between two processes with blocking sockets, "
            "measured before on loopback: a delivery has the same two ways to go, up and down.",
            f"바닥값: 미리 잰, 루프백에서 두 프로세스 사이 64바이트 TCP 왕복 {count}번. 전달 "
            "하나도 올라가고 내려오는 두 길을 간다.",
        )


def _server(workload: Workload, shown: Sequence[Summary]) -> Lines:
    if not any(column.server.cpus for column in shown):
        yield (
            "Server: not started by this program, so its CPU and memory are not known.",
            "서버: 이 프로그램이 띄운 것이 아니어서 CPU와 메모리를 알 수 없다.",
        )
        return
    runs = max(len(column.server.cpus) for column in shown)
    memory, memory_ko = _memory(workload)
    what = "" if workload.messages else ", those in which bytes were counted"
    yield (
        f"CPU and memory: of the server process, median of {count(runs, 'run')}{what}. {memory}",
        f"CPU와 메모리: 서버 프로세스, 실행 {runs}회의 중앙값. {memory_ko}",
    )


def _memory(workload: Workload) -> tuple[str, str]:
    if workload.clients < CROWD_LEAST:
        return (
            "Memory grows in steps: of so few clients the share of one is not known.",
            "메모리는 계단처럼 늘어나므로, 클라이언트가 이 정도로 적으면 하나의 몫을 알 수 없다.",
        )
    return (
        "Memory a connection: the growth from the empty server to the end of the window.",
        "연결 하나의 메모리: 빈 서버일 때부터 구간 끝까지 늘어난 양.",
    )
