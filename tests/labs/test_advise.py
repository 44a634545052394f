"""Which transport for what: figures by hand, a simulation of what waits, verdicts, the command."""

from __future__ import annotations

import dataclasses
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from math import ceil, log
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from labs.advise import Advice, Cost, Costs, Need, Range, advise, candidates, of_file, trial, tried
from labs.advise.command import show
from labs.advise.costs import Work, fitted, solve
from labs.advise.flow import Use, flow, held_polls, weigh
from labs.advise.latency import Kind, interval_s, p95_s, queued_s, use_of
from labs.advise.need import _RANGES, duration, rate_per_s, seconds
from labs.advise.option import work
from labs.bench import results
from labs.bench.results import Run, ServerUse
from labs.bench.workload import Workload
from labs.cli import main
from labs.errors import LabError, UsageError
from labs.variants import FIVE
from tests.labs.made import MACHINE, result, run

NEED = Need(clients=2_000, rate_per_s=0.2, rtt_s=0.08, max_latency_s=0.5)


def same(value: float) -> Range:
    return Range(value, value, value)


def costs(names: Sequence[str] = FIVE, **changed: Cost) -> Costs:
    """Everything costs alike: 0.2 ms a message, 20 us an exchange, 20 kB a connection."""
    plain = Cost(same(2e-4), same(2e-5), same(20_000), rounds=3, clients=100, exchanges_per_s=1_000)
    return Costs({name: changed.get(name, plain) for name in names}, MACHINE, "made up")


def changed(cost: Cost, **to: float) -> Cost:
    return msgspec.structs.replace(cost, **{name: same(value) for name, value in to.items()})


def by_name(advice: Advice, name: str) -> int:
    return [option.name for option in advice.options].index(name)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("80ms", 0.08), ("0.5s", 0.5), ("2", 2), (" 1.5 s ", 1.5), ("250us", 0.00025), ("2min", 120)],
)
def test_durations(text: str, wanted: float) -> None:
    assert seconds("--rtt", text) == pytest.approx(wanted)


@pytest.mark.parametrize("text", ["", "fast", "-1s", "80 m", "1e3", "ms", "1,5s", "80msec", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match=r"--rtt is .*; give a duration like 80ms"):
        seconds("--rtt", text)


@pytest.mark.parametrize(
    ("text", "wanted"), [("0.2", 0.2), ("3/s", 3), ("12/min", 0.2), ("1e3", 1_000)]
)
def test_rates(text: str, wanted: float) -> None:
    assert rate_per_s("--rate", text) == pytest.approx(wanted)


def test_durations_are_written_as_they_are_read() -> None:
    for value_s in (0.0123, 0.5, 2.0):
        assert seconds("--rtt", duration(value_s)) == value_s
    assert (duration(0.99951), duration(0.9991)) == ("1 s", "999 ms")


@pytest.mark.parametrize(
    "wrong", [{"clients": 0}, {"rtt_s": -1}, {"chars": 0}, {"max_latency_s": 0}, {"rooms": 101}]
)
def test_a_need_that_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="give"):
        Need(**wrong)  # type: ignore[arg-type]


def test_what_is_too_large_is_said_with_the_range() -> None:
    with pytest.raises(UsageError, match=r"clients is 1,000,000, too large; give 1 to 200,000"):
        Need(clients=1_000_000)
    with pytest.raises(UsageError, match=r"chars is 0, too small; give 1 to 1,900"):
        Need(chars=0)
    with pytest.raises(UsageError, match="3 rooms for 1 client; give fewer"):
        Need(clients=1, rooms=3)


def test_one_client_is_not_many() -> None:
    assert str(Need(clients=1)).startswith("1 client in one room, 1 messages/s")
    assert str(Need(clients=2_000, rooms=1_000)).startswith("2,000 clients in 1,000 rooms")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_queue_as_simulated(share: float) -> None:
    # M/D/1 by Lindley's recursion, work of length 1. The exponential tail is within a quarter of
    # the work at these shares; 400,000 arrivals leave some per cent of sampling error.
    generator, wait, waits = random.Random(1), 0.0, list[float]()
    for _ in range(400_000):
        wait = max(0.0, wait + 1 - generator.expovariate(share))
        waits.append(wait)
    waits.sort()
    late = waits[ceil(0.95 * len(waits)) - 1]
    assert queued_s([Kind(share, 1.0)]) == pytest.approx(late, rel=0.1, abs=0.35)


def test_a_queue_by_hand() -> None:
    # Half a core, all alike: V = 1 / (2 x .5) = 1, times ln 10.
    assert queued_s([Kind(0.5, 1.0)]) == pytest.approx(2.302585)
    # A quarter in long work, a quarter in short: V = (.125 x 4 + .5 x .25) / (2 x .5 x .5) = 1.25.
    assert queued_s([Kind(0.125, 2.0), Kind(0.5, 0.5)]) == pytest.approx(1.25 * 2.302585)
    assert queued_s([Kind(0.05, 1.0)]) == 0
    assert queued_s([Kind(1.0, 1.0)]) is None


@pytest.mark.parametrize("name", FIVE)
def test_what_queues_is_the_cpu_time(name: str) -> None:
    plain, need = costs().each[name], Need(clients=1_000, rooms=10, rate_per_s=3)
    carried = flow(name, weigh(name), use_of(need, plain.sent_s.middle))
    option = next(each for each in advise(need, costs()).options if each.name == name)
    share = sum(kind.rate_per_s * kind.takes_s for kind in work(name, need, carried, plain))
    assert share == pytest.approx(option.cpu.middle)


def test_the_wait_at_the_server_is_in_every_p95() -> None:
    # 1,000 reached by 5 a second take 0.2 ms and 1,000 x 20 us each: rho = .101, and beside them
    # 66.7 heartbeats of 20 us.
    need = Need(clients=1_000, rate_per_s=5, rtt_s=0.08, max_latency_s=0.5)
    found = {option.name: option for option in advise(need, costs()).options}
    share = 5 * 0.0202 + 1_000 / 15 * 2e-5
    longest = (5 * 0.0202**2 + 1_000 / 15 * 2e-5**2) / (2 * share * (1 - share)) * log(20 * share)
    assert found["websocket"].p95_s == pytest.approx(0.08 + 0.95 * 1_000 * 2e-5 + longest)
    # Polling leaves for it what it may be, and so is in time still.
    polled_s = found["polling"].p95_s
    assert polled_s is not None
    use = use_of(need, 2e-4)
    assert use.interval_s < interval_s(need)
    assert p95_s("polling", use) <= polled_s <= 0.5


def test_of_more_than_a_core_there_is_no_p95() -> None:
    need = Need(clients=200_000, rate_per_s=5)
    advice = advise(need, costs())
    assert all(option.cpu.middle > 1 for option in advice.options)
    assert [option.p95_s for option in advice.options] == [None] * len(FIVE)
    assert all(option.cells()[1] == "-" for option in advice.options)
    assert all("p95" not in " ".join(option.fails) for option in advice.options)
    assert any("grows without bound" in line for line in advice.caveats)
    assert advice.best is None


def test_silence_has_a_price_and_no_latency() -> None:
    advice = advise(Need(rate_per_s=0, rtt_s=2, max_latency_s=1), costs())
    assert advice.best
    assert {option.cells()[1] for option in advice.options} == {"-"}
    assert all(option.meets and option.client_bytes_per_s > 0 for option in advice.options)
    assert "p95" not in advice.sentence
    assert "안에 도착" not in advice.sentence_ko
    assert any("what silence costs" in line for line in advice.caveats)


@pytest.mark.parametrize("need", [Need(clients=200_000, rate_per_s=5), Need(), Need(rate_per_s=0)])
@pytest.mark.parametrize("behind_proxy", [False, True])
def test_every_figure_is_whole_at_80_columns(need: Need, behind_proxy: bool) -> None:
    need = dataclasses.replace(need, behind_proxy=behind_proxy)
    wide = Range(1.234e-4, 2.345e-4, 3.456e-4)
    each = Cost(wide, wide, Range(20_001, 30_002, 40_003), 3, 100, 1_000)
    advice = advise(need, Costs(dict.fromkeys(candidates(need), each), MACHINE, "made up"))
    screen = Console(width=80, file=StringIO(), record=True)
    show(screen, advice)
    said = screen.export_text()
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 80
    rows = [line.split("  ") for line in said.splitlines()]
    whole = {cell.strip() for row in rows for cell in row}
    for option in advice.options:
        assert set(option.cells()[:-1]) <= whole


def test_other_programs_are_warned_of() -> None:
    quiet = costs()
    busy = msgspec.structs.replace(quiet, others_cpu=1.23)
    assert not any("other programs" in line for line in advise(NEED, quiet).caveats)
    assert (
        advise(NEED, busy)
        .caveats[0]
        .startswith("CPU may be unstable: other programs took 1.2 cores meanwhile.")
    )


def test_the_interval_is_derived() -> None:
    # 0.08 s on the way leaves 0.42 s, of which 95 % of the waits are under .95 T: T = 0.442 s.
    assert interval_s(NEED) == 0.442
    assert p95_s("polling", use_of(NEED)) == pytest.approx(0.08 + 0.95 * 0.442)
    assert p95_s("polling", use_of(NEED)) <= NEED.max_latency_s


def test_polling_cannot_ask_more_often_than_once_a_round_trip() -> None:
    need = Need(rtt_s=0.4, max_latency_s=0.5)
    assert interval_s(need) == 0.4
    assert p95_s("polling", use_of(need)) == pytest.approx(0.4 + 0.95 * 0.4)


def test_push_takes_the_way_and_its_turn() -> None:
    # 2,000 members, 20 us each: the last is reached after 40 ms, 95 % of them after 38 ms.
    use = use_of(NEED)
    assert p95_s("websocket", use, 20e-6) == pytest.approx(0.08 + 0.038)
    assert p95_s("streaming", use) == pytest.approx(0.08)


def test_long_polls_that_are_seldom_away_cost_no_wait() -> None:
    # 0.2 a second x 80 ms: only 1.6 % of the messages meet no poll.
    assert p95_s("longpolling", use_of(NEED)) == pytest.approx(0.08)


@pytest.mark.parametrize("rate", [1.0, 4.0, 40.0])
def test_held_polls_as_simulated(rate: float) -> None:
    rtt_s, hold_s = 0.25, 2.0
    polls, waits_s, messages = simulated(rate, rtt_s, hold_s)
    use = Use(rate_per_s=rate, members=10, rtt_s=rtt_s, hold_s=hold_s)
    news, empty = held_polls(use, hold_s)
    assert polls == pytest.approx(news + empty, rel=0.03)
    late = sorted(waits_s)[ceil(0.95 * messages) - 1]
    # `p95_s` has the default hold, which is longer: of messages that come at 1/s or more, all the
    # same to within some per cent.
    assert rtt_s + late == pytest.approx(p95_s("longpolling", use), abs=0.03)


def simulated(rate: float, rtt_s: float, hold_s: float) -> tuple[float, list[float], int]:
    """Polls a second, and how long each of 20,000 messages waited for one."""
    generator, at_s, said = random.Random(1), 0.0, list[float]()
    for _ in range(20_000):
        at_s += generator.expovariate(rate)
        said.append(at_s)
    answered, number, poll_s, next_ = list[float](), 0, 0.0, 0
    while next_ < len(said):
        number += 1
        ends_s = min(max(poll_s, said[next_]), poll_s + hold_s)
        while next_ < len(said) and said[next_] <= ends_s:
            answered.append(ends_s - said[next_])
            next_ += 1
        poll_s = ends_s + rtt_s
    return number / poll_s, answered, len(said)


def test_solving_for_two_costs() -> None:
    # 10 sent and 100 exchanges in 4 ms, 100 and 50 in 21 ms: 0.2 ms and 20 us.
    sent_s, exchange_s = solve([Work(10, 100, 0.004, 1), Work(100, 50, 0.021, 1)]) or (0, 0)
    assert sent_s == pytest.approx(0.0002)
    assert exchange_s == pytest.approx(0.00002)


def test_no_cost_is_negative() -> None:
    # More messages and less time: exchanges are to blame alone, as far as that goes.
    sent_s, exchange_s = solve([Work(10, 100, 0.01, 1), Work(100, 100, 0.005, 1)]) or (1, 0)
    assert sent_s == 0
    assert exchange_s == pytest.approx(0.000075)


def test_one_kind_of_load_tells_nothing_apart() -> None:
    assert solve([Work(10, 100, 0.01, 1)]) is None
    assert solve([Work(10, 100, 0.01, 1), Work(20, 200, 0.02, 1)]) is None


LISTEN = Workload(
    name="listen",
    clients=50,
    senders=1,
    duration_s=1,
    warmup_s=0,
    arrivals="constant",
    rate_per_s=10,
)
TALK = Workload(
    name="talk", clients=10, rooms=5, duration_s=1, warmup_s=0, arrivals="constant", rate_per_s=100
)


def spent(workload: str, cpu_s: float, number: int) -> Run:
    """A run of 2 s whose server grew by 1 MB."""
    used = ServerUse(cpu_s / 2, 40_000_000, 41_000_000)
    return run("latency", number, workload=workload, variant="websocket", server=used)


def talked(factor: float = 1.0) -> list[Run]:
    # 10 said to 50, 100 said to 2 each; 0.2 ms a message, 20 us a delivery.
    return [
        spent("listen", factor * (10 * 2e-4 + 500 * 2e-5), number=round(factor)),
        spent("talk", factor * (100 * 2e-4 + 200 * 2e-5), number=round(factor)),
    ]


def test_costs_come_out_of_runs() -> None:
    found = fitted([*talked(1), *talked(3)], [LISTEN, TALK], 1, MACHINE, "made up")
    cost = found.each["websocket"]
    assert cost.sent_s == pytest.approx((2e-4, 4e-4, 6e-4))
    assert cost.exchange_s == pytest.approx((2e-5, 4e-5, 6e-5))
    assert cost.connection_bytes == same(20_000)
    assert (cost.rounds, cost.clients, cost.exchanges_per_s) == (2, 50, 250)


def test_runs_with_wrong_fates_tell_no_costs() -> None:
    wrong = [run("latency", workload="listen", variant="websocket", wrong=["lost"])]
    with pytest.raises(LabError, match="no two kinds of load"):
        fitted(wrong, [LISTEN], 1, MACHINE, "made up")


def test_figures_of_an_option_by_hand() -> None:
    option = next(each for each in advise(NEED, costs()).options if each.name == "websocket")
    carried = flow("websocket", weigh("websocket"), use_of(NEED))
    assert option.client_bytes_per_s == carried.bytes
    assert option.bit_per_s == pytest.approx(carried.bytes * 2_000 * 8)
    assert option.memory == same(2_000 * 20_000)
    # 0.2 messages handed to each of 2,000, and a ping every 15 s; 0.2 messages sent.
    assert option.cpu.middle == pytest.approx(2_000 * (0.2 + 1 / 15) * 2e-5 + 0.2 * 2e-4)
    assert option.requests_per_s == 0


def test_rooms_multiply_what_is_said() -> None:
    one = advise(Need(clients=100, rate_per_s=1), costs()).options[0]
    ten = advise(Need(clients=1_000, rate_per_s=1, rooms=10), costs()).options[0]
    assert ten.name == one.name
    assert ten.client_bytes_per_s == one.client_bytes_per_s
    assert ten.bit_per_s == pytest.approx(10 * one.bit_per_s)
    assert ten.cpu.middle == pytest.approx(10 * one.cpu.middle)


def test_the_fewest_bytes_are_taken_and_the_next_is_named() -> None:
    advice = advise(NEED, costs())
    assert advice.best
    assert advice.runner_up
    met = [option.client_bytes_per_s for option in advice.options if option.meets]
    assert advice.best.client_bytes_per_s == min(met)
    assert f"Take {advice.best.name}: of those that meet it, it carries the fewest bytes" in (
        advice.sentence
    )
    assert f"The runner-up is {advice.runner_up.name}: " in advice.sentence
    assert advice.best.name in advice.sentence_ko
    assert advice.runner_up.name in advice.sentence_ko


def test_of_nearly_as_few_bytes_the_least_memory_is_taken() -> None:
    # Long texts make the frames around them next to nothing.
    need = Need(clients=100, rate_per_s=1, chars=1_000)
    plain = costs().each["websocket"]
    lean = advise(need, costs(streaming=changed(plain, connection_bytes=1_000)))
    assert lean.best
    assert lean.best.name == "streaming"
    assert "it needs the least memory" in lean.sentence
    assert "메모리가 가장 적다" in lean.sentence_ko


def test_latency_fails_polling_with_its_figure() -> None:
    advice = advise(Need(rtt_s=0.3, max_latency_s=0.5), costs())
    polling = advice.options[by_name(advice, "polling")]
    assert polling.fails == ("p95 585 ms > 500 ms",)
    assert "p95 585 ms > 500 ms" in polling.cells()
    assert not polling.meets


def test_work_for_more_than_a_core_fails_with_its_figure() -> None:
    need = Need(clients=2_000, rate_per_s=20, max_latency_s=5)
    option = advise(need, costs(["websocket"])).options[0]
    # 2,000 x (20 + 1/15) exchanges of 20 us, 20 messages of 0.2 ms.
    assert option.cpu.middle == pytest.approx(2_000 * (20 + 1 / 15) * 2e-5 + 20 * 2e-4)
    assert option.fails == (f"CPU {option.cpu.middle:.2f} > 0.7 of one core",)


def test_nothing_meets_a_latency_below_the_round_trip() -> None:
    advice = advise(Need(rtt_s=0.2, max_latency_s=0.1), costs())
    assert advice.best is None
    assert advice.runner_up is None
    assert advice.sentence.startswith("Nothing meets it; ")
    assert "fails by p95" in advice.sentence
    assert "없다" in advice.sentence_ko


def test_behind_a_proxy_socketio_stays_on_polling() -> None:
    need = Need(behind_proxy=True)
    assert candidates(need) == [
        "polling",
        "longpolling",
        "streaming",
        "websocket",
        "socketio-polling",
    ]
    advice = advise(need, costs(candidates(need)))
    refused = advice.options[by_name(advice, "websocket")]
    assert refused.fails == ("the proxy refuses its upgrade",)
    assert advice.best
    assert advice.best.name == "streaming"
    assert any("streaming needs a proxy" in line for line in advice.caveats)


def test_a_browser_says_more_with_each_request() -> None:
    plain, browser = (advise(Need(browser=browser), costs()).options for browser in (False, True))
    less, more = (
        next(o for o in options if o.name == "polling").client_bytes_per_s
        for options in (plain, browser)
    )
    assert more > 1.5 * less


def test_what_was_not_measured_is_not_weighed() -> None:
    advice = advise(NEED, costs(["websocket"]))
    assert [option.name for option in advice.options] == ["websocket"]
    assert any("no costs of them are known: polling, longpolling" in x for x in advice.caveats)


def test_how_far_it_is_stretched_is_said() -> None:
    told = " ".join(advise(NEED, costs()).caveats)
    assert "from 100 connections to 2,000 (20.0 times)" in told
    assert "least and the most of 3 rounds" in told
    assert "made up; on A processor, 2 cores" in told


def test_a_notebook_shows_the_table() -> None:
    shown = advise(NEED, costs())._repr_html_()
    assert shown.count("<tr>") == 1 + len(FIVE)
    assert "<b>Take " in shown
    assert 'lang="ko">추천' in shown


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    return results.save(result(*talked(), workloads=[LISTEN, TALK]), tmp_path)


def test_the_command_reads_a_result(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["advise", "--clients", "200", "--rate", "12/min", "--rtt", "80ms"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--max-latency", "0.5s", "--result", str(measured)])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "0.2 messages/s in each" in said
    assert "Take websocket" in said
    assert "추천: websocket" in said
    assert of_file(measured).each.keys() == {"websocket"}


def test_the_command_fails_where_nothing_meets_it(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["advise", "--clients", "9", "--rate", "1", "--rtt", "2", "--max-latency", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--result", str(measured)])
    assert ended.value.code == 1
    assert "Nothing meets it" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--rtt", "soon"],
        ["--max-latency", "-1"],
        ["--rate", "often"],
        ["--rate", "1e9"],
        ["--clients", "0"],
        ["--clients", "200001"],
        ["--rooms", "11"],
        ["--chars", "0"],
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["advise", "--clients", "10", "--rate", "1", *wrong])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith("labs: ")
    assert said.err.count("\n") == 1


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, contextlib\n"
        "from labs.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['advise', '--help'])\n"
        "print({'labs.advise', 'asyncio', 'matplotlib', 'numpy'} & set(sys.modules))\n"
    )
    words = [sys.executable, "-c", script]
    said = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
    assert "--max-latency" in said
    assert f"<={_RANGES['clients'][1]}]" in re.sub(r"[\s│]", "", said)
    assert said.endswith("set()\n")


async def test_costs_are_measured_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "ROUNDS", 1)
    found = await tried(["websocket"])
    cost = found.each["websocket"]
    assert cost.sent_s.middle + cost.exchange_s.middle > 0
    assert cost.connection_bytes.middle > 0
    assert (cost.rounds, cost.clients) == (1, trial.LISTENING.clients)
    assert found.others_cpu >= 0
    assert found.machine == results.this_machine()
