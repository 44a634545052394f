"""A proxy that buffers or compresses holds events back: with nginx, it depends on which.

HTTP lets a proxy collect an answer before it passes any of it on (RFC 6202 section 3.2). What
nginx does with an event stream follows from how it knows where an answer ends, and from zlib:

An answer that ends with its connection is read into buffers of B bytes, the server's head of
h bytes first, and a buffer goes down when it is full. Of a body of S bytes so far

    floor((h + S) / B) B - h    bytes have come down, if that is more than 0,

and the rest waits until the answer ends: events come in lumps of B.

A chunked answer is not held back, though it is buffered too: nginx passes on what it has read
as soon as that is all the chunk promises. The usual advice leaves this out, and there it errs.

gzip in front of buffers that are not flushed holds back what zlib does: a block of deflate is
written when 16,383 symbols have been collected (memLevel 8), and a symbol stands for one byte or
more. Of a stream shorter than 16,383 bytes *nothing* comes down before its end, its head neither.

`proxy_buffering off`, or the server's `X-Accel-Buffering: no`, has every read flushed, through
zlib too; then all N events come down. An answer to a long poll ends, and its end flushes
everything: N of N, through the same buffers and gzip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack, suppress
from itertools import accumulate
from time import monotonic

import aiohttp
import msgspec
from matplotlib.figure import Figure

from labs import lab
from labs.chat import Batch, Joined, Message
from labs.chat.messages import encode_batch
from labs.errors import LabError
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, colour, legend, measured
from labs.experiments.rig.nginx import Location, proxying
from labs.experiments.rig.proxied import UNCHUNKED, Listener, unchunked
from labs.variants import Client
from streaming.server import RETRY_MS, event

CLAIM = Claim(
    title="A proxy that buffers holds the events of a stream back",
    title_ko="버퍼링하는 프록시는 스트림의 이벤트를 붙잡아 둔다",
    says="Behind nginx an event stream arrives late and in lumps, because proxy_buffering is on; "
    "gzip makes it worse. X-Accel-Buffering: no, or proxy_buffering off, mends it; long polling "
    "does not suffer.",
    says_ko="nginx 뒤에서는 proxy_buffering이 켜져 있어 이벤트가 늦게, 뭉쳐서 도착하고 gzip을 켜면 "
    "더 심해진다. X-Accel-Buffering: no 또는 proxy_buffering off로 고칠 수 있고, 롱 폴링은 영향을 "
    "받지 않는다.",
    source="Common advice; RFC 6202 (2011), section 3.2, on network intermediaries; the manual of "
    "nginx's ngx_http_proxy_module, proxy_buffering and X-Accel-Buffering.",
)

EVENTS = 64  # 11 kB of them: fewer bytes than a block of deflate has symbols
TEXT = "x" * 40
BUFFER_BYTES = 4_096
SYMBOLS = 16_383  # of a deflate block: 2^(memLevel + 6) - 1, and nginx's memLevel is 8
LOOK_S = 0.02
QUIET_S = 0.5  # when nothing has come for so long, nothing will before the end
PATIENCE_S = 5.0
DRAIN_S = 0.5  # nothing is owed to anybody when a server ends here

BUFFERS = (f"proxy_buffer_size {BUFFER_BYTES}", f"proxy_buffers 8 {BUFFER_BYTES}")
DEAF = (*BUFFERS, "proxy_buffering on", "proxy_ignore_headers X-Accel-Buffering")
GZIP = ("gzip on", "gzip_types text/event-stream application/json")
WAYS: Mapping[str, tuple[str, ...]] = {
    "gzip, buffers": (*DEAF, *GZIP),
    "buffers, no chunks": DEAF,
    "buffers, chunks": DEAF,
    "gzip, header heeded": (*BUFFERS, "proxy_buffering on", *GZIP),
    "gzip, buffering off": (*DEAF[:2], "proxy_buffering off", DEAF[3], *GZIP),
}
"""Ways through nginx for a stream, and the directives of each."""

NO_CHUNKS = "buffers, no chunks"
LONG = "long polling, gzip, buffers"


class Arrived(msgspec.Struct, frozen=True):
    """Of one way: events down before the server ended, and after; bytes of the first lump."""

    before: int
    after: int
    first_lump: int = 0


Arrivals = dict[str, Arrived]


def predict() -> Arrivals:
    """The closed form."""
    every = {way: Arrived(EVENTS, EVENTS) for way in (*WAYS, LONG)}
    sizes = list(accumulate(_sizes(), initial=len(b"retry: %d\n\n" % RETRY_MS)))
    if sizes[-1] >= SYMBOLS:
        raise ValueError(f"{sizes[-1]} bytes may fill a block of deflate; make fewer events")
    head = len(UNCHUNKED)
    down = (head + sizes[-1]) // BUFFER_BYTES * BUFFER_BYTES - head
    whole = sum(size <= down for size in sizes[1:])
    return every | {
        "gzip, buffers": Arrived(0, EVENTS),
        NO_CHUNKS: Arrived(whole, EVENTS, BUFFER_BYTES - head),
    }


def _sizes() -> list[int]:
    """The bytes of each event; the talker and a listener for each way have joined before."""
    first = 2 + len(WAYS)
    batches = (
        Batch("0" * 8, [Message(offset, "talk", "talker", TEXT, 10**12)])
        for offset in range(first, first + EVENTS)
    )
    return [len(event("updateMessage", encode_batch(each), str(each.end))) for each in batches]


async def run(seed: int) -> Arrivals:
    """One talker, a listener on each way, then the end of the server."""
    del seed  # nothing here is left to chance
    return {**await _streams(), LONG: await _long_poll()}


async def _streams() -> Arrivals:
    news = asyncio.Event()
    listeners = {way: Listener(news) for way in WAYS}
    timeout = aiohttp.ClientTimeout(None)
    async with (
        lab.serve("streaming", drain_s=DRAIN_S) as server,
        aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as http,
        unchunked(http, server.url) as bare,
        proxying(_locations(server.url, bare)) as url,
        AsyncExitStack() as leaving,
    ):
        talker = server.variant.client(server.direct_url, server.settings)
        await talker.connect("talker")
        leaving.push_async_callback(talker.close)
        queries = await _joined(http, server.direct_url)
        reading = [
            asyncio.create_task(listener.read(http, f"{url}/{place}/updateMessage?{query}"))
            for place, (listener, query) in enumerate(zip(listeners.values(), queries, strict=True))
        ]
        await _asked(server, len(WAYS))
        for _ in range(EVENTS):
            await talker.send(TEXT)
        await _quiet(news)
        before = {way: listener.events for way, listener in listeners.items()}
        server.process.terminate()
        await _ended(reading)
    return {
        way: Arrived(before[way], listener.events, _lump(way, listener))
        for way, listener in listeners.items()
    }


def _locations(server: str, bare: str) -> dict[str, Location]:
    """The ways by their place; one of them leads past the chunks."""
    return {
        str(place): Location(bare if way == NO_CHUNKS else server, directives)
        for place, (way, directives) in enumerate(WAYS.items())
    }


async def _joined(http: aiohttp.ClientSession, url: str) -> list[str]:
    """A session for each way, and one place for all: after the last of these joins."""
    answers = []
    for place in range(len(WAYS)):
        async with http.post(f"{url}/newUserConnect", json={"name": f"listener {place}"}) as answer:
            answers.append(msgspec.json.decode(await answer.read(), type=Joined))
    last = answers[-1]
    return [f"session={each.session}&since={last.epoch}:{last.head}" for each in answers]


async def _asked(server: lab.Served, streams: int) -> None:
    """Wait until so many streams have been asked for, at the tap."""
    asked, end_s = 0, monotonic() + PATIENCE_S
    while asked < streams:
        asked += (await server.traffic()).requests
        if monotonic() > end_s:
            raise LabError(f"nginx asked for {asked} of {streams} streams in {PATIENCE_S:g} s")
        await asyncio.sleep(LOOK_S)


async def _quiet(news: asyncio.Event) -> None:
    """Wait until nothing has come to anybody for a while."""
    with suppress(TimeoutError):
        while True:
            await asyncio.wait_for(news.wait(), QUIET_S)
            news.clear()


async def _ended(reading: Collection[asyncio.Task[None]]) -> None:
    _, waiting = await asyncio.wait(reading, timeout=PATIENCE_S)
    for task in waiting:
        task.cancel()
    if waiting:
        raise LabError(f"{len(waiting)} streams did not end within {PATIENCE_S:g} s of the server")
    await asyncio.gather(*reading)


def _lump(way: str, listener: Listener) -> int:
    """The bytes that came down first; told only of a way that has chunks of nginx's own."""
    return listener.chunks[0] if way == NO_CHUNKS and listener.chunks else 0


async def _long_poll() -> Arrived:
    """The same talk, heard by long polling through the same buffers and gzip."""
    async with (
        lab.serve("longpolling", drain_s=DRAIN_S) as server,
        proxying({"way": Location(server.direct_url, (*DEAF, *GZIP))}) as url,
        AsyncExitStack() as leaving,
    ):
        talker, listener = (
            server.variant.client(way, server.settings) for way in (server.direct_url, f"{url}/way")
        )
        for name, client in (("talker", talker), ("listener", listener)):
            await client.connect(name)
            leaving.push_async_callback(client.close)
        for _ in range(EVENTS):
            await talker.send(TEXT)
        heard = await _heard(listener)
    return Arrived(heard, heard)


async def _heard(client: Client) -> int:
    heard, messages = 0, client.messages()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while heard < EVENTS:
                heard += (await anext(messages)).kind == "talk"
    return heard


def judge(predicted: Arrivals, found: Arrivals) -> list[Finding]:
    """Symptom, cause and fix."""
    basis = (
        f"events parsed at the client, nginx on loopback; {EVENTS} events said one after another; "
        f"counted when nothing had come for {QUIET_S:g} s, before the server ended"
    )
    lump = "HTTP chunks of nginx at the client, in bytes"
    alone = {"no chunks": found[NO_CHUNKS], "chunks": found["buffers, chunks"]}
    return [
        *(
            near(f"{way}: before the end", "events", each.before, found[way].before, basis)
            for way, each in predicted.items()
        ),
        *(
            near(f"{way}: in the end", "events", each.after, found[way].after, basis)
            for way, each in predicted.items()
            if each.before < each.after
        ),
        near(
            f"{NO_CHUNKS}: first lump",
            "B",
            predicted[NO_CHUNKS].first_lump,
            found[NO_CHUNKS].first_lump,
            lump,
        ),
        *(
            bounded(
                f"held back by buffers alone, {how}",
                "events",
                EVENTS - each.before,
                basis,
                least=1,
                of="claim",
            )
            for how, each in alone.items()
        ),
    ]


def plot(predicted: Arrivals, found: Arrivals) -> Figure:
    """Events down before the server ended, by way."""
    figure, (on,) = axes(left=0.33, right=0.72)
    rows = range(len(predicted))
    on.barh(
        rows,
        [each.before for each in predicted.values()],
        height=0.6,
        color=colour(0),
        alpha=0.3,
        label="theory",
    )
    measured(on, [found[way].before for way in predicted], list(rows), "measured")
    on.set_yticks(rows, list(predicted), fontsize=8)
    on.invert_yaxis()
    on.set_xlabel(f"events of {EVENTS} that came before the server ended")
    legend(on)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
