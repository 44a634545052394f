"""One connection taken apart: HTTP exchanges, and after an upgrade frames.

What an exchange is for is known from both of its halves: a poll that brings something is
steady, one that brings nothing is a heartbeat, its request head included. So the two
directions are read together, exchange by exchange.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from labs.wire.dissect import said
from labs.wire.dissect.frames import Frames, Means, deflate
from labs.wire.dissect.http import Head, Message, is_begun, read_request, read_response
from labs.wire.dissect.packets import Packets
from labs.wire.dissect.pieces import Kind, Meaning, Piece, Side, in_order
from labs.wire.dissect.purpose import Content, is_upgrade, purpose, route
from labs.wire.recording import Event


def dissect(events: Iterable[Event]) -> list[Piece]:
    """The pieces of one connection, given its events in order of time.

    However its bytes are cut into events, the pieces are the same but for their moments. The
    sizes of a direction's pieces add up to its bytes, whatever those are.
    """
    return in_order(sides(list(events)))


def sides(events: Sequence[Event]) -> tuple[Side, Side]:
    """The same, up and down by themselves and not yet in order."""
    conversation = _Conversation(events)
    conversation.read()
    return conversation.up, conversation.down


class _Conversation:
    def __init__(self, events: Sequence[Event]) -> None:
        self.up, self.down = Side("up", events), Side("down", events)
        self._packets = Packets()
        self._exchange = 0
        self._waiting = ""  # the phase of the first request without an answer

    def read(self) -> None:
        while self._next():
            self._exchange += 1
        for side in (self.up, self.down):
            begun = is_begun(side.data, side.taken, request=side is self.up)
            phase = self._waiting or "steady"
            layer, note = ("http_head", "head, cut off") if begun else ("opaque", "not understood")
            side.rest(layer, phase, self._exchange, note)

    def _next(self) -> bool:
        request = read_request(self.up.data, self.up.taken)
        interim, response = self._answer(request.head.method if request else "")
        if request is None and response is None and not interim:
            return False
        what = purpose(request, response, self._packets)
        if request:
            self._emit(self.up, request, what.phase, what.up, what.last)
        for head in interim:
            self._head(self.down, head, what.phase)
        if response:
            self._emit(self.down, response, what.phase, what.down, what.last)
        elif not self._waiting:
            self._waiting = what.phase
        if response and response.head.status == 101:
            self._switch(request, response)
            return False
        return True

    def _answer(self, method: str) -> tuple[list[Head], Message | None]:
        """The next response, and the interim ones before it (RFC 9110 section 15.2)."""
        interim: list[Head] = []
        response = read_response(self.down.data, self.down.taken, method)
        while response and 100 <= response.head.status < 200 and response.head.status != 101:
            interim.append(response.head)
            response = read_response(self.down.data, response.head.end, method)
        return interim, response

    def _head(self, side: Side, head: Head, phase: str) -> None:
        line = head.raw.partition(b"\n")[0].decode("latin-1").strip()
        meaning = Meaning(phase, {"http_head": len(head.raw)}, line)
        kind: Kind = "request" if head.method else "response"
        side.add(head.end, kind, meaning, head.raw, self._exchange)
        side.taken = head.end

    def _emit(
        self, side: Side, message: Message, phase: str, contents: list[Content], last: str
    ) -> None:
        self._head(side, message.head, phase)
        body = message.body
        begin = 0
        for content in contents:
            end, start = body.on_wire(content.end), body.on_wire(begin + 1) - 1
            side.add(end, content.kind, content.meaning, content.said, self._exchange, start)
            begin = content.end
        self._chunks(side, message, phase, contents, last)
        side.taken = body.end
        if not body.whole:
            side.rest("opaque", phase, self._exchange, "not understood")

    def _chunks(
        self, side: Side, message: Message, phase: str, contents: list[Content], last: str
    ) -> None:
        body, ends = message.body, [content.end for content in contents]
        for chunk, offset in zip(body.chunks, body.offsets, strict=True):
            size = chunk.data_end - chunk.data_begin
            within = bisect_right(ends, offset - size)
            note = f"chunk of {size} B"
            if size:
                of = contents[within].meaning.phase
            else:
                of, note = last, "last chunk"
            meaning = Meaning(of, {"chunk": chunk.framing}, note)
            side.add(chunk.end, "chunk", meaning, b"", self._exchange, chunk.begin)

    def _switch(self, request: Message | None, response: Message) -> None:
        """From here on there are no exchanges (RFC 9110 section 7.8)."""
        if request is None or not is_upgrade(request.head):
            for side in (self.up, self.down):
                side.rest("opaque", "steady", self._exchange, "another protocol")
            return
        accepted = response.head.fields.get("sec-websocket-extensions", "")
        means = self._means(route(request.head) == "engine")
        # What goes up is read first, so that answers are known by their numbers.
        for side, sender in ((self.up, "client"), (self.down, "server")):
            Frames(side, means, deflate(accepted, sender), self._exchange).dissect()

    def _means(self, engine: bool) -> Means:
        frames = said.Frames()

        def means(what: bytes, binary: bool) -> Meaning:
            if binary:
                return Meaning("steady", {"envelope": len(what)}, "binary")
            return self._packets.meaning(what) if engine else frames.meaning(what)

        return means
