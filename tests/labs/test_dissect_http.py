"""Our scanner of HTTP heads and bodies sees what h11 sees."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labs.wire.dissect.http import read_request, read_response

FIELDS = st.lists(
    st.tuples(
        st.text("abcxyzABC-_0189!#$%&'*+.^`|~", min_size=1, max_size=12).filter(
            lambda name: name.lower() not in ("host", "te", "expect")
        ),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=20)
        .map(lambda value: "".join(c for c in value if c.isprintable()).strip())
        .map(lambda value: value.replace("\xad", "")),
    ),
    max_size=5,
)
TARGETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
Fields = list[tuple[bytes, bytes]]
METHODS = st.sampled_from(("GET", "HEAD", "POST", "PUT", "OPTIONS", "X-Y"))
BODIES = st.lists(st.binary(max_size=40), max_size=4)
STATUSES = st.sampled_from((200, 201, 204, 304, 400, 404, 503))


def headers(fields: list[tuple[str, str]], parts: list[bytes], framing: str) -> Fields:
    given = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    if framing == "chunked":
        given.append((b"Transfer-Encoding", b"chunked"))
    if framing == "length":
        given.append((b"content-LENGTH", b"%d" % sum(map(len, parts))))
    return [(b"host", b"a"), *given]


def written(first: bytes, fields: Fields, parts: list[bytes], framing: str) -> bytes:
    lines = [first, *(b"%b: %b" % field for field in fields), b"", b""]
    body = parts
    if framing == "chunked":
        body = [b"%X\r\n%b\r\n" % (len(part), part) for part in parts if part] + [b"0\r\n\r\n"]
    return b"\r\n".join(lines) + b"".join(body)


def heard(
    data: bytes, role: type[h11.CLIENT] | type[h11.SERVER], asked: h11.Request | None
) -> tuple[h11.Event, bytes, int]:
    """The head, the body, and the bytes left over, as h11 sees them."""
    connection = h11.Connection(role)
    if asked:
        connection.send(asked)
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    head, body = connection.next_event(), b""
    assert isinstance(head, h11.Event)
    while isinstance(part := connection.next_event(), h11.Data):
        body += part.data
    assert isinstance(part, h11.EndOfMessage)
    return head, body, len(connection.trailing_data[0])


@settings(max_examples=300, deadline=None)
@given(METHODS, TARGETS, FIELDS, BODIES, st.sampled_from(("chunked", "length", "")), st.binary())
def test_requests(
    method: str,
    target: str,
    fields: list[tuple[str, str]],
    parts: list[bytes],
    framing: str,
    more: bytes,
) -> None:
    parts = parts if framing else []
    first = f"{method} {target} HTTP/1.1".encode()
    data = written(first, headers(fields, parts, framing), parts, framing) + more
    head, body, left = heard(data, h11.SERVER, None)
    assert isinstance(head, h11.Request)
    request = read_request(data, 0)
    assert request
    assert request.head.method.encode() == head.method
    assert request.head.target.encode() == head.target
    assert (request.body.data, request.body.whole) == (body, True)
    assert request.body.end == len(data) - left == len(data) - len(more)


@settings(max_examples=300, deadline=None)
@given(STATUSES, FIELDS, BODIES, st.sampled_from(("chunked", "length")), st.booleans())
def test_responses(
    status: int, fields: list[tuple[str, str]], parts: list[bytes], framing: str, is_head: bool
) -> None:
    method, bodiless = "HEAD" if is_head else "GET", is_head or status in (204, 304)
    first, more = f"HTTP/1.1 {status} Whatever".encode(), b"HTTP/1.1 200 OK\r\n"
    data = written(first, headers(fields, parts, framing), parts, framing)
    if bodiless:
        data = data[: data.index(b"\r\n\r\n") + 4]
    data += more
    asked = h11.Request(method=method, target="/", headers=[("Host", "a")])
    head, body, left = heard(data, h11.CLIENT, asked)
    assert isinstance(head, h11.Response)
    response = read_response(data, 0, method)
    assert response
    assert response.head.status == head.status_code
    assert (response.body.data, response.body.whole) == (body, True)
    assert response.body.end == len(data) - left == len(data) - len(more)


HEAD = b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: y\r\n  z\r\n\r\nabc"


@settings(max_examples=500, deadline=None)
@given(st.integers(0, len(HEAD) - 4), st.binary(min_size=1, max_size=3))
def test_what_h11_takes_we_take(at: int, noise: bytes) -> None:
    data = HEAD[:at] + noise + HEAD[at + len(noise) :]
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        head = connection.next_event()
    except h11.RemoteProtocolError:
        return
    request = read_request(data, 0)
    if head is h11.NEED_DATA:
        assert request is None
    else:
        assert isinstance(head, h11.Request)
        assert request
        assert (request.head.method.encode(), request.head.target.encode()) == (
            head.method,
            head.target,
        )
        length = dict(head.headers).get(b"content-length", b"0")
        assert request.body.whole == (len(request.body.data) == int(length))


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Length: -1",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Content-Length: 9" + b"9" * 5_000,
        b"Transfer-Encoding: gzip, chunked",
        b"X : y",
        b"X\0: y",
    ],
)
def test_what_h11_refuses_we_refuse(field: bytes) -> None:
    data = b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\nabc" % field
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    with pytest.raises(h11.RemoteProtocolError):
        connection.next_event()
    assert read_request(data, 0) is None
