"""Networks as data: named ones, files, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from labs.errors import UsageError
from labs.net.network import NETWORKS, Network, load
from labs.net.shaping import wilson

GOOD = "delay_ms = 12.5\nup_bit_s = 1_000_000\ndown_bit_s = 8_000_000\n"


def file(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_named_ones_are_those_of_the_command_line() -> None:
    assert list(NETWORKS) == ["lan", "wifi", "4g", "3g", "satellite"]
    assert all(load(name).name == name for name in NETWORKS)


def test_each_is_slower_to_answer_than_the_one_before() -> None:
    rtt_ms = [network.rtt_ms for network in NETWORKS.values()]
    assert rtt_ms == sorted(set(rtt_ms))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=str)
def test_a_network_survives_json(network: Network) -> None:
    assert msgspec.json.decode(msgspec.json.encode(network), type=Network) == network


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no network is called 'satelite'; did you mean satell"):
        load("satelite")
    with pytest.raises(UsageError, match=r"there are lan, wifi, 4g, 3g, satellite"):
        load("xyzzy")


def test_a_file_is_read_and_bears_its_own_name(tmp_path: Path) -> None:
    mine = Network("mine", delay_ms=12.5, up_bit_s=1_000_000, down_bit_s=8_000_000)
    assert load(file(tmp_path, GOOD)) == mine
    named = load(file(tmp_path, GOOD + 'name = "ship"\nloss = 0.02\njitter_ms = 3\nqueue_ms = 9'))
    assert (named.name, named.loss, named.jitter_ms, named.queue_ms) == ("ship", 0.02, 3, 9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "los = 0.1", "no key is called 'los'; did you mean loss?"),
        (GOOD + "qqq = 0.1", "no key is called 'qqq'; there are name, delay_ms"),
        (GOOD + "loss = 1.5", "loss is 1.5; give 0 to 0.5"),
        (GOOD + "loss = nan", "loss is nan; give 0 to 0.5"),
        (GOOD + "loss = true", "loss is True; give a number from 0 to 0.5"),
        (GOOD + 'jitter_ms = "much"', "jitter_ms is 'much'; give a number from 0 to 1,000"),
        (GOOD + "queue_ms = 0", "queue_ms is 0; give 1 to 60,000"),
        (GOOD + "name = 3", "name is 3; give a text"),
        (GOOD.replace("1_000_000", "1.5"), "up_bit_s is 1.5; give a whole number from 1,000"),
        (GOOD.replace("12.5", "-1"), "delay_ms is -1; give 0 to 10,000"),
        (GOOD.replace("delay_ms", "#"), "delay_ms is missing; give 0 to 10,000"),
        ("delay_ms: 3", "is no TOML: "),
    ],
)
def test_a_wrong_file_names_itself_the_key_and_the_range(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(file(tmp_path, text))
    assert said in str(caught.value)
    assert str(tmp_path / "mine.toml") in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml: No such file"):
        load(str(tmp_path / "nowhere.toml"))


@pytest.mark.parametrize(("found", "of"), [(0, 400), (4, 400), (200, 400), (20, 20)])
def test_the_interval_ends_where_a_share_would_be_1_96_deviations_away(found: int, of: int) -> None:
    low, high = wilson(found, of)
    assert 0 <= low <= found / of <= high <= 1
    for end in {low, high} - {0.0, 1.0}:
        assert abs(found / of - end) == pytest.approx(1.959964 * (end * (1 - end) / of) ** 0.5)
