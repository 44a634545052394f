"""What may be said, and how a position is written."""

import json
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.chat import Batch, Join, Joined, Leave, Message, Position, Talk
from labs.chat.messages import (
    check_key,
    check_text,
    clean_name,
    convert,
    decode,
    encode,
    encode_batch,
    encode_command,
)
from labs.errors import ChatError
from labs.settings import Settings
from tests.labs.properties import PROPERTY

SETTINGS = Settings()
SMILE = "\U0001f642"
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
BLANK = list("\u115f\u1160\u2800\u3164\uffa0")
BIDI = list("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def code_of(refusal: pytest.ExceptionInfo[ChatError]) -> str:
    assert refusal.value.message
    return refusal.value.code


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("alice", "alice"),
        ("  alice \t", "alice"),
        ("\u3000김하늘\xa0", "김하늘"),
        ("a" * 32, "a" * 32),
        (SMILE * 32, SMILE * 32),
        (" " * 40 + "a" * 32 + " " * 40, "a" * 32),
        ("e\u0301" * 32, "\u00e9" * 32),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("two words", "two words"),
        ("<b>", "<b>"),
        ("SERVERS", "SERVERS"),
    ],
)
def test_S8_1_a_name_is_in_nfc_and_trimmed(given_name: str, name: str) -> None:
    assert clean_name(given_name, SETTINGS) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " \n\t ",
        "a" * 33,
        SMILE * 33,
        "e\u0301" * 33,
        "SERVER",
        "server",
        "\tServer ",
        "a\u2028b",
        "a\u2029b",
        "\ud800",
        *(f"a{control}b" for control in CONTROLS),
        *(f"a{control}b" for control in BIDI),
        *BLANK,
        *("\u200b", "SERVER\u200b", "SERVER\u00ad", "alice\u200d", "ＳＥＲＶＥＲ"),
    ],
)
def test_S8_1_what_is_no_name(name: str) -> None:
    with pytest.raises(ChatError) as refusal:
        clean_name(name, SETTINGS)
    assert code_of(refusal) == "bad_name"


@PROPERTY
@given(st.text(max_size=40))
def test_S8_1_a_name_is_refused_or_clean(text: str) -> None:
    name = unicodedata.normalize("NFC", text).strip()
    hidden = {"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"} & {unicodedata.category(one) for one in name}
    blank = set(name) & set(BLANK)
    if not 1 <= len(name) <= 32 or hidden or blank or name.upper() == "SERVER":
        with pytest.raises(ChatError, match="name"):
            clean_name(text, SETTINGS)
    else:
        assert clean_name(text, SETTINGS) == name == clean_name(name, SETTINGS)


@pytest.mark.parametrize("text", ["x", " ", "x" * 2_000, SMILE * 2_000, "\n", "a\n\tb", "\u202e"])
def test_S8_2_what_may_be_said(text: str) -> None:
    assert check_text(text, SETTINGS) == text


@pytest.mark.parametrize(
    "text",
    ["", "x" * 2_001, SMILE * 2_001, "\udfff", *(c for c in CONTROLS if c not in "\n\t")],
)
def test_S8_2_what_may_not(text: str) -> None:
    with pytest.raises(ChatError) as refusal:
        check_text(text, SETTINGS)
    assert code_of(refusal) == "bad_text"


def test_S8_2_limits_are_settings() -> None:
    settings = SETTINGS.but(name_chars=2, text_chars=3)
    assert clean_name("ab", settings) == "ab"
    assert check_text("abc", settings) == "abc"
    with pytest.raises(ChatError):
        clean_name("abc", settings)
    with pytest.raises(ChatError):
        check_text("abcd", settings)


def test_S4_1_a_key_has_1_to_64_characters() -> None:
    assert [check_key(key) for key in (None, "k", "k" * 64)] == [None, "k", "k" * 64]
    for key in ("", "k" * 65):
        with pytest.raises(ChatError) as refusal:
            check_key(key)
        assert code_of(refusal) == "bad_request"


@pytest.mark.parametrize(
    ("written", "position"),
    [
        ("0", Position(None, 0)),
        (7, Position(None, 7)),
        ("abc:7", Position("abc", 7)),
        ("a:b:7", Position("a:b", 7)),
        (":7", Position(None, 7)),
        ("abc:" + "9" * 18, Position("abc", 10**18 - 1)),
    ],
)
def test_S1_a_position_is_epoch_and_offset_or_an_offset(
    written: str | int, position: Position
) -> None:
    assert Position.parse(written) == position


@pytest.mark.parametrize(
    "written", ["", "x", "abc:", "-1", -1, "1.0", "1e3", "٣", "²", "abc:-7", " 7", "9" * 19, "7\n"]
)
def test_S9_what_is_no_position(written: str | int) -> None:
    with pytest.raises(ChatError) as refusal:
        Position.parse(written)
    assert code_of(refusal) == "bad_request"


@PROPERTY
@given(st.none() | st.text("0123456789abcdef", min_size=1), st.integers(0, 10**18 - 1))
def test_S1_a_position_comes_back_as_it_was_written(epoch: str | None, offset: int) -> None:
    position = Position(epoch, offset)
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"", Join),
        (b"{", Join),
        (b"[]", Join),
        (b"null", Join),
        (b"{}", Join),
        (b'{"name":1}', Join),
        (b'{"name":null}', Join),
        (b'{"name":"a","since":1.5}', Join),
        (b'{"name":"a","since":[]}', Join),
        (b'{"name":"a","session":7}', Join),
        (b'{"text":"a","key":1}', Talk),
        (b'{"text":"\xff"}', Talk),
        (b'{"text":"\\ud800"}', Talk),
        (b'{"name":"a"}' + b"x", Join),
        (b"[" * 10_000, Leave),
        ("한글".encode("euc-kr"), Talk),
    ],
)
def test_S9_what_is_no_command(raw: bytes, wanted: type) -> None:
    with pytest.raises(ChatError) as refusal:
        decode(raw, wanted, SETTINGS.body_bytes)
    assert code_of(refusal) == "bad_request"


@pytest.mark.parametrize("value", [None, [], "alice", 7, {}, {"name": 1}, {"name": {"a": 1}}])
def test_S9_nor_is_it_once_a_library_has_parsed_it(value: object) -> None:
    with pytest.raises(ChatError) as refusal:
        convert(value, Join, SETTINGS.body_bytes)
    assert code_of(refusal) == "bad_request"


def test_S8_3_too_large_by_one_byte() -> None:
    body = b'{"text":"' + b"x" * 89 + b'"}'
    assert decode(body, Talk, 100).text == "x" * 89
    assert convert(json.loads(body), Talk, 100) == Talk("x" * 89)
    with pytest.raises(ChatError) as refusal:
        decode(body, Talk, 99)
    assert code_of(refusal) == "too_large"
    with pytest.raises(ChatError) as refusal:
        convert(json.loads(body), Talk, 99)
    assert code_of(refusal) == "too_large"


def test_S3_3_what_a_command_says_besides_is_ignored() -> None:
    assert decode(b'{"text":"hi","name":"x","offset":9}', Talk, 100) == Talk("hi")


def test_S8_3_a_client_does_not_send_what_nobody_would_hear_out() -> None:
    settings = SETTINGS.but(body_bytes=2_000, hard_bytes=4_000)
    assert json.loads(encode_command(Talk("x" * 2_500), settings))["text"] == "x" * 2_500
    with pytest.raises(ChatError) as refusal:
        encode_command(Talk("x" * 4_000), settings)
    assert code_of(refusal) == "too_large"
    with pytest.raises(ChatError) as refusal:
        encode_command(Talk("\ud800"), settings)
    assert code_of(refusal) == "bad_request"


MESSAGES = st.builds(
    Message,
    st.integers(1, 2**53 - 1),
    st.sampled_from(["join", "talk", "leave", "gap"]),
    st.text(),
    st.text(),
    st.integers(0, 2**53 - 1),
)


@PROPERTY
@given(st.lists(MESSAGES, min_size=1, max_size=5))
def test_S10_a_batch_is_a_json_array_without_newlines(messages: list[Message]) -> None:
    raw = encode_batch(Batch("epoch", messages))
    assert b"\n" not in raw
    assert b"\r" not in raw
    assert b"\x1e" not in raw
    assert msgspec.json.decode(raw, type=list[Message]) == messages
    assert [set(one) for one in json.loads(raw)] == [
        {"offset", "kind", "name", "text", "at_ms"}
    ] * len(messages)
    assert Batch("epoch", messages).end == Position("epoch", messages[-1].offset)


def test_korean_is_not_escaped() -> None:
    message = Message(1, "talk", "하늘", "안녕", 0)
    assert "안녕".encode() in encode_batch(Batch("epoch", [message]))


def test_answers_are_json() -> None:
    joined = Joined("s", "a", "lobby", "e", 1, "e:0", ["a"], 10.0, 0.0)
    assert json.loads(encode(joined))["since"] == "e:0"
