"""The floor in words: rows for the terminal and the report, each with what it rests on."""

from __future__ import annotations

from typing import NamedTuple

from labs.bench.floor import (
    FAN_OUT_LEAST,
    PING_MOST_US,
    RATIO_MOST,
    STEP_MOST_NS,
    TAP_MOST_US,
    TIMER_MOST_US,
    Floor,
    RoundTrips,
)

BUSY = 0.85  # of a core: an end that had less of it was kept from working


class Row(NamedTuple):
    """A figure as it is printed.

    The notes say layer, clock, load model and sample size. `met` says whether the figure is as
    `expected` of an idle machine, `advice` what it means when it is not.
    """

    label: str
    label_ko: str
    value: str
    expected: str
    met: bool
    note: str
    note_ko: str
    advice: str


def describe(floor: Floor) -> list[Row]:
    """The figures of the floor, a row each."""
    tap = [_tap(floor, floor.tap)] if floor.tap else []
    return [_ping(floor), _websocket(floor), *tap, _fan_out(floor), _timer(floor), _clock(floor)]


def _ping(floor: Floor) -> Row:
    found = floor.ping
    where = "on a core each" if floor.pinned else "wherever the system put them"
    where_ko = "각자 한 코어에 고정" if floor.pinned else "코어는 운영체제가 정함"
    return Row(
        "TCP, raw",
        "TCP 왕복, 순수 소켓",
        f"p50 {found.p50_us:,.0f} µs, p99 {found.p99_us:,.0f} µs",
        f"p50 ≤ {PING_MOST_US:.0f} µs",
        found.p50_us <= PING_MOST_US,
        "Round trip, 64 bytes each way above TCP on loopback, blocking sockets, two processes "
        f"{where}; monotonic clock of one end; closed loop, one at a time, in turn with the "
        f"WebSocket round trips; n = {found.n:,}, the least {found.min_us:.0f} µs.",
        f"루프백 TCP 위의 64바이트 왕복, 블로킹 소켓, 프로세스 둘({where_ko}); 한쪽의 단조 시계; "
        f"한 번에 하나씩, WebSocket 왕복과 번갈아; n = {found.n:,}, 최소 {found.min_us:.0f} µs.",
        "The loopback is slow: other programs, power saving, or a busy host of this virtual "
        "machine. Compare latencies with this row, not with those of other machines.",
    )


def _websocket(floor: Floor) -> Row:
    found, loop = floor.websocket, floor.loop
    return Row(
        "WebSocket, generator",
        "WebSocket 왕복, 부하 생성기",
        f"p50 {found.p50_us:,.0f} µs, {floor.ratio:.2f} × raw",
        f"≤ {RATIO_MOST:g} × raw",
        floor.ratio <= RATIO_MOST,
        "Round trip, the same 64 bytes in WebSocket frames, masked on the way up (RFC 6455); "
        f"one end a light client of the generator on {loop}, its framing and parsing included, "
        "the other end blocks; same clock, same load, one by one in turn with the raw ones; "
        f"n = {found.n:,}.",
        f"같은 64바이트를 WebSocket 프레임으로; 한쪽은 {loop} 위의 부하 생성기 클라이언트, "
        "프레임을 만들고 읽는 시간 포함; 같은 시계, 순수 소켓 왕복과 하나씩 번갈아; "
        f"n = {found.n:,}.",
        "The instrument adds more than it should to every latency: install uvloop if it is "
        "missing, and measure again when the machine has nothing else to do.",
    )


def _tap(floor: Floor, found: RoundTrips) -> Row:
    return Row(
        "TCP, through the tap",
        "TCP 왕복, 탭을 거쳐",
        f"p50 {found.p50_us:,.0f} µs, {floor.tap_us:,.0f} more than raw",
        f"≤ {TAP_MOST_US:.0f} µs more",
        floor.tap_us <= TAP_MOST_US,
        "Round trip, the same 64 bytes over blocking sockets with the tap between, in a process of "
        "its own; same clock, same load, one by one in turn with the raw ones. Latency is never "
        f"taken through it, bytes are counted there; n = {found.n:,}.",
        "같은 64바이트, 사이에 탭 프로세스를 두고; 같은 시계, 순수 소켓 왕복과 하나씩 번갈아. "
        f"지연은 탭을 거쳐 재지 않고, 바이트만 거기서 센다; n = {found.n:,}.",
        "The tap is slow here: how many messages share an answer may differ in the runs that "
        "count bytes.",
    )


def _fan_out(floor: Floor) -> Row:
    found = floor.fanout
    limit = _limit(floor)
    busy = f"{found.sender_cpu:.0%} and {found.receiver_cpu:.0%} of a core"
    return Row(
        f"TCP, raw, one to {found.connections}",
        f"TCP 팬아웃, 연결 {found.connections}개",
        f"{found.per_s:,.0f} deliveries/s",
        f"≥ {FAN_OUT_LEAST:,}/s",
        found.per_s >= FAN_OUT_LEAST,
        f"Frames of {found.frame_bytes} bytes above TCP on loopback, one blocking send a "
        "delivery (the kernel may merge some), both ends in Python; monotonic clock, from the "
        f"first send to the last receipt; as fast as it goes; {limit} the limit ({busy}: sender, "
        f"receiver); n = {found.deliveries:,} deliveries in {found.seconds:.2f} s, all checked.",
        f"루프백 TCP 위의 {found.frame_bytes}바이트 프레임, 전달마다 send 한 번; 첫 전송부터 "
        "마지막 수신까지, 단조 시계; 낼 수 있는 최고 속도; "
        f"n = {found.deliveries:,}, 모두 확인함.",
        f"Here {limit} the limit: high loads reach it before they reach that of a server.",
    )


def _limit(floor: Floor) -> str:
    sender, receiver = floor.fanout.sender_cpu, floor.fanout.receiver_cpu
    if max(sender, receiver) < BUSY:
        return "other programs, or the kernel, were"
    return "the sender was" if sender >= receiver else "the receiver was"


def _timer(floor: Floor) -> Row:
    late, loop = floor.timer, floor.loop
    return Row(
        "timer error, generator",
        "타이머 오차, 부하 생성기",
        f"p99 {late.p99_us:,.0f} µs, max {late.max_us:,.0f} µs",
        f"p99 ≤ {TIMER_MOST_US:,.0f} µs",
        late.p99_us <= TIMER_MOST_US,
        f"How late the generator's clockwork wakes on {loop}, by the monotonic clock; open "
        f"loop, a wake every 2 ms with nothing else to do; n = {late.n:,}, "
        f"p50 {late.p50_us:.0f} µs.",
        f"부하 생성기의 시계 장치가 {loop}에서 얼마나 늦게 깨는가; 단조 시계; "
        f"2 ms마다 한 번, 다른 일 없이; n = {late.n:,}, p50 {late.p50_us:.0f} µs.",
        "Messages will be begun late; latencies count from the intended moment and hold that.",
    )


def _clock(floor: Floor) -> Row:
    found = floor.clock
    return Row(
        "monotonic clock",
        "단조 시계",
        f"step {found.step_ns:,} ns, reading {found.cost_ns:.0f} ns",
        f"step ≤ {STEP_MOST_NS:,} ns",
        found.step_ns <= STEP_MOST_NS,
        "The smallest difference seen between two readings, and what a reading costs; back to "
        f"back, in one process; n = {found.n:,}.",
        "두 번 읽은 값의 가장 작은 차이와 한 번 읽는 비용; 한 프로세스에서 잇달아; "
        f"n = {found.n:,}.",
        "Latencies are no finer than this step.",
    )
