"""A recording as a sequence diagram in SVG: lifelines, arrows, and what is held open.

The server's lifeline stands in the middle, the clients' around it. Time runs downwards; where
nothing happens it is cut short, and the length of the cut is written there. A bar on the
server's lifeline is a request that it holds, a stream or a connection that it keeps open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree import ElementTree as Xml

from labs.wire.recording import Recording
from labs.wire.steps import Hold, Step, Story, tell
from labs.wire.svg import COLOURS, PALE, document, line, rect, short, text

ROWS = 48  # at most; what is left out is counted
FEW = {"page": 6, "heartbeat": 8}  # as many rows on end; the others are counted
CLIENTS = 4
GAP_NS = 15_000_000  # a longer silence is cut short
HELD_NS = 50_000_000  # a request that waits longer is held

ROW, GAP, SLANT = 27, 30, 7  # pixels
TOP, MARGIN, COLUMN = 118, 92, 380
LANE = 9
LABEL_CHARS = 50

KOREAN = {
    "HTTP polling": "폴링: 클라이언트가 일정한 간격으로 묻고, 서버는 곧바로 답한다",
    "HTTP long polling": "롱 폴링: 서버는 전할 말이 생길 때까지 답을 미룬다",
    "HTTP streaming": "스트리밍: 한 번 물으면, 서버는 응답을 닫지 않고 이어서 보낸다",
    "WebSocket": "웹소켓: 하나의 연결에서 양쪽이 아무 때나 보낸다",
    "Socket.IO": "Socket.IO: 폴링으로 시작해 웹소켓으로 올라간다",
    "Socket.IO, WebSocket only": "Socket.IO: 처음부터 웹소켓으로",
    "Socket.IO, polling only": "Socket.IO: 롱 폴링만으로",
}
TINTS = {
    "page": "#eceff1",
    "handshake": "#ede7f6",
    "join": "#e3f2e4",
    "steady": "#ffffff",
    "heartbeat": "#fff6d6",
    "close": "#fde7e3",
}


class Row(NamedTuple):
    """A step, or how many steps are left out here; `gap_ns` is the silence before it."""

    step: Step | None
    left_out: int
    gap_ns: int


@dataclass
class _Page:
    """Where things stand on the drawing."""

    story: Story
    rows: list[Row]
    x: list[float] = field(default_factory=list)  # of each client
    server_x: float = 0
    width: float = 0
    y: dict[int, float] = field(default_factory=dict)  # of each row
    bottom: float = 0


def draw(recording: Recording) -> str:
    """The diagram of a recording, a document of its own."""
    story = tell(recording)
    page = _Page(story, list(rows(story)))
    _place(page)
    svg = _document(recording, page)
    _bands(svg, page)
    _lifelines(svg, page)
    _bars(svg, page)
    _cuts(svg, page)
    for number, row in enumerate(page.rows):
        _row(svg, page, number, row)
    _legend(svg, page)
    Xml.indent(svg, space=" ")
    return Xml.tostring(svg, encoding="unicode") + "\n"


def rows(story: Story) -> Iterator[Row]:
    """What is drawn: not more than the first `ROWS`, and few of one kind on end."""
    alike, left_out, drawn, last_ns, phase = 0, 0, 0, None, ""
    for step in story.steps:
        alike = alike + 1 if step.phase == phase else 1
        phase = step.phase
        if alike > FEW.get(phase, ROWS) or drawn >= ROWS or step.client >= CLIENTS:
            left_out += 1
            continue
        if left_out:
            yield Row(None, left_out, 0)
            left_out = 0
        gap_ns = 0 if last_ns is None else step.at_ns - last_ns
        yield Row(step, 0, gap_ns if gap_ns > GAP_NS else 0)
        drawn, last_ns = drawn + 1, step.at_ns
    if left_out:
        yield Row(None, left_out, 0)


def _place(page: _Page) -> None:
    count = min(max(1, len(page.story.clients)), CLIENTS)
    left = (count + 1) // 2
    columns = [float(MARGIN + COLUMN * index) for index in range(count + 1)]
    page.server_x = columns.pop(left)
    page.x, page.width = columns, MARGIN * 2 + COLUMN * count
    y = float(TOP)
    for number, row in enumerate(page.rows):
        y += ROW + (GAP if row.gap_ns else 0)
        page.y[number] = y
    page.bottom = y + ROW


def _document(recording: Recording, page: _Page) -> Xml.Element:
    title = recording.head.title or "What went over the wire"
    height = page.bottom + 62
    svg = document(page.width, height, f"{title}: a sequence diagram", _description(page))
    text(svg, page.width / 2, 30, title, "title")
    text(svg, page.width / 2, 52, _korean(title), "korean").set("lang", "ko")
    return svg


def _korean(title: str) -> str:
    found = [name for name in KOREAN if title.startswith(name)]
    return KOREAN[max(found, key=len)] if found else "실제 통신을 기록한 순서도"


def _description(page: _Page) -> str:
    who = ", ".join([*page.story.clients[:CLIENTS], "server"])
    said = "; ".join(f"{_from(page, row.step)}: {row.step.label}" for row in page.rows if row.step)
    return f"Lifelines: {who}. In order of time: {said}."


def _from(page: _Page, step: Step) -> str:
    return page.story.clients[step.client] if step.direction == "up" else "server"


def _bands(svg: Xml.Element, page: _Page) -> None:
    """The phases, as light bands behind the rows."""
    for number, row in enumerate(page.rows):
        if row.step is None or row.step.phase == "steady":
            continue
        top = page.y[number] - ROW + 9
        rect(svg, 4, top, page.width - 8, ROW, "band", fill=TINTS[row.step.phase])


def _lifelines(svg: Xml.Element, page: _Page) -> None:
    names = page.story.clients[:CLIENTS] or ["client"]
    for x, name in [*zip(page.x, names, strict=True), (page.server_x, "server")]:
        text(svg, x, TOP - 24, short(name, 24), "who")
        line(svg, x, TOP - 14, x, page.bottom, "life")


def _cuts(svg: Xml.Element, page: _Page) -> None:
    for number, row in enumerate(page.rows):
        if row.gap_ns:
            _cut(svg, page, page.y[number] - ROW - GAP / 2 + 10, row.gap_ns)


def _cut(svg: Xml.Element, page: _Page, y: float, gap_ns: int) -> None:
    """Time left out: a break in every lifeline, and how long it was."""
    for x, half in (*((x, 6) for x in page.x), (page.server_x, 2 * LANE)):
        Xml.SubElement(svg, "path", {"class": "cut", "d": _slash(x, y, half)})
        for up in (-3, 3):
            line(svg, x - half, y + up + 2, x + half, y + up - 2, "life")
    text(svg, 8, y + 4, f"⋮ {_ms(gap_ns)}", "small", "start")


def _slash(x: float, y: float, half: float) -> str:
    return f"M{x - half:g},{y - 1:g} l{2 * half:g},-4 v6 l{-2 * half:g},4 z"


def _bars(svg: Xml.Element, page: _Page) -> None:
    at = {id(row.step): page.y[number] for number, row in enumerate(page.rows) if row.step}
    lanes: dict[bool, list[float]] = {True: [], False: []}
    holds = sorted(page.story.holds, key=lambda hold: hold.first.at_ns)
    for hold in holds:
        if id(hold.first) not in at or hold.first.client >= CLIENTS:
            continue
        begin = at[id(hold.first)] + (SLANT if hold.first.direction == "up" else 0)
        end = at.get(id(hold.last)) or _end(page, hold)
        _bar(svg, page, hold, begin, end, lanes)


def _end(page: _Page, hold: Hold) -> float:
    """Where a bar ends that no drawn step ends: below the last row that came before its end."""
    last_ns = hold.last.at_ns if hold.last else hold.end_ns
    before = [
        page.y[number]
        for number, row in enumerate(page.rows)
        if row.step and (last_ns is None or row.step.at_ns <= last_ns)
    ]
    return min(before[-1] + ROW / 2, page.bottom - 6)


def _bar(
    svg: Xml.Element,
    page: _Page,
    hold: Hold,
    begin: float,
    end: float,
    lanes: dict[bool, list[float]],
) -> None:
    to_left = page.x[hold.first.client] < page.server_x
    busy = lanes[to_left]
    lane = next((index for index, until in enumerate(busy) if until <= begin), len(busy))
    busy[lane : lane + 1] = [end]
    x = page.server_x + (-(lane + 1) * LANE if to_left else lane * LANE)
    held_ns = hold.held_ns
    waits = held_ns is None or held_ns >= HELD_NS
    look = "open" if hold.what != "request" else "held" if waits else "brief"
    bar = rect(svg, x, begin, LANE, max(end - begin, 4), look)
    length = f"for {_ms(held_ns)}" if held_ns is not None else "to the end"
    Xml.SubElement(bar, "title").text = f"{hold.what} held open {length}"


def _row(svg: Xml.Element, page: _Page, number: int, row: Row) -> None:
    y = page.y[number]
    if row.step is None:
        text(svg, page.width / 2, y, f"… {row.left_out:,} more …", "small label")
        return
    step = row.step
    start_ns = page.story.steps[0].at_ns
    text(svg, 8, y + 3, f"{(step.at_ns - start_ns) / 1e6:,.1f} ms", "small", "start")
    client_x, server_x = page.x[step.client], page.server_x
    ends = (client_x, server_x) if step.direction == "up" else (server_x, client_x)
    arrow = line(svg, ends[0], y, ends[1], y + SLANT, step.kind)
    arrow.set("stroke", COLOURS[step.kind])
    arrow.set("marker-end", f"url(#head-{step.kind})")
    beside = (client_x + server_x) / 2
    label = text(svg, beside, y - 2, short(step.label, LABEL_CHARS), "label")
    Xml.SubElement(label, "tspan", {"class": "small", "dx": "6"}).text = f"{step.size:,} B"


def _legend(svg: Xml.Element, page: _Page) -> None:
    y, x = page.bottom + 22, 14.0
    for phase, tint in TINTS.items():
        rect(svg, x, y - 10, 13, 13, "", fill=tint, stroke=PALE)
        text(svg, x + 18, y, phase, "small", "start")
        x += 30 + 6.5 * len(phase)
    y, x = y + 22, 14.0
    for kind, name in (("request", "request or frame"), ("response", "answer"), ("push", "push")):
        arrow = line(svg, x, y - 4, x + 26, y - 4, kind)
        arrow.set("stroke", COLOURS[kind])
        arrow.set("marker-end", f"url(#head-{kind})")
        text(svg, x + 32, y, name, "small", "start")
        x += 44 + 6.5 * len(name)
    for look, name in (("brief", "at work"), ("held", "request held"), ("open", "kept open")):
        rect(svg, x, y - 11, LANE, 14, look)
        text(svg, x + LANE + 6, y, name, "small", "start")
        x += LANE + 20 + 6.5 * len(name)


def _ms(ns: int) -> str:
    return f"{ns / 1e9:,.1f} s" if ns >= 1_000_000_000 else f"{ns / 1e6:,.0f} ms"
