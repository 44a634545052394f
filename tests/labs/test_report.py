"""Tables and reports, of results that nobody measured."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from labs.bench import results
from labs.bench.floor import Clock, FanOut, Floor, Lateness, RoundTrips
from labs.bench.markdown import document
from labs.bench.report import page, report_files
from labs.bench.results import Result, ServerUse
from labs.bench.summary import summaries
from labs.bench.table import caption, columns, groups, table
from labs.bench.workload import WORKLOADS, Workload
from labs.errors import LabError, UsageError
from labs.net.network import Network
from labs.net.shaping import Rtt, Shaping
from labs.variants import FIVE
from labs.wire.traffic import Segments, Traffic
from tests.labs.made import STEADY, WINDOWS, hdr, result, run, timed

PACED = WORKLOADS["paced"]
FLOOR = Floor(
    loop="asyncio",
    pinned=True,
    ping=RoundTrips(1_234, 20.0, 70.0, 120.0),
    websocket=RoundTrips(1_234, 30.0, 90.0, 150.0),
    timer=Lateness(100, 60.0, 100.0, 200.0),
    fanout=FanOut(100, 64, 10_000, 0.1, 0.9, 0.5),
    clock=Clock(100, 40, 35.0),
)
SHAPING = Shaping(
    network=Network("4g", 35.0, 12_000_000, 12_000_000),
    mechanism="relay",
    reason="no root",
    congestion_control="cubic",
    rtt=Rtt(50, 70.1, 70.4, 71.0),
    connect_ms=0.2,
    up_bit_s=11.9e6,
    down_bit_s=11.8e6,
    loss_up=None,
    loss_down=None,
    cannot_show=["It loses nothing."],
)


def five(**changes: Any) -> Result:
    """A result of all five variants under `idle` and `paced`."""
    runs = []
    for place, name in enumerate(FIVE, 1):
        runs.append(run("bytes", variant=name, workload="idle"))
        predicted = {**STEADY, "down/http_head/steady": 48_800.0}
        segments = Segments(150, 220, 7_800, 11_440)
        runs.append(run("bytes", variant=name, segments=segments, predicted=predicted))
        runs += timed(place * 1.0, place * 1.01, place * 0.99, variant=name)
    return result(*runs, workloads=[WORKLOADS["idle"], PACED], **changes)


def cells(found: Result, workload: Workload = PACED, place: int = 0) -> dict[str, str]:
    """A column's cells by the label of their row."""
    shown = columns(found, workload)
    rows = [row for group in groups(found, workload, shown) for row in group.rows]
    assert len({row.label for row in rows}) == len(rows)
    return {row.label: row.read(shown[place]) for row in rows}


# Figures


def test_the_figures_of_a_table() -> None:
    shown = cells(result(run("bytes"), run("latency"), run("latency", 2)))
    assert shown["messages, all runs"] == "160", "two latency runs of 50 and a warm-up of 5"
    assert shown["deliveries, all runs"] == "3,000"
    assert shown["lost"] == "0"
    assert shown["requests, all clients"] == "60"
    assert shown["bytes up per client"] == "1,500"
    assert shown["bytes down per client"] == "8,500"
    assert shown["bytes per delivery"] == "200"
    assert shown["overhead ratio"] == "5.0"
    assert shown["latency p50, ms"] == "2.00"
    assert shown["uncorrected p50, ms"] == "1.90"
    assert shown["probes' p99, ms"] == "3.00"
    assert shown["server CPU, % a core"] == "25.0"
    assert "p50 of runs, from-to" not in shown, "two runs have no interval"
    assert "back again p50, ms" not in shown
    assert "memory/connection, kB" not in shown, "20 clients are too few"


def test_the_layers_add_up_to_the_bytes() -> None:
    shown = cells(result(run("bytes")))
    layers = {label: float(text) for label, text in shown.items() if label[:3] in ("up ", "dow")}
    assert layers == {
        "up http_head": 20.0,
        "up envelope": 9.0,
        "up text": 1.0,
        "down http_head": 50.0,
        "down envelope": 80.0,
        "down text": 40.0,
    }
    assert sum(layers.values()) == float(shown["bytes per delivery"])


def test_phases_are_those_of_the_whole_run() -> None:
    shown = cells(result(run("bytes")))
    assert (shown["join"], shown["close"], shown["handshake"]) == ("300", "10", "0")


def test_a_quiet_minute() -> None:
    idle = WORKLOADS["idle"]
    shown = cells(result(run("bytes", workload="idle"), workloads=[idle]), idle)
    assert shown["requests a minute"] == "60.0", "60 requests of 20 clients in 3 s"
    assert shown["bytes up a minute"] == "30,000"
    assert shown["to join: requests"] == "2.0"
    assert shown["down text"] == "40,000"
    assert not [label for label in shown if "latency" in label or "delivery" in label]


def test_intervals_and_the_distance_to_the_fastest() -> None:
    found = five()
    first, last = cells(found, place=0), cells(found, place=4)
    assert (first["p50 of runs, from-to"], last["p50 of runs, from-to"]) == (
        "0.99-1.01",
        "4.95-5.05",
    )
    assert (first["p50, x fastest"], last["p50, x fastest"]) == ("1.00", "5.00")
    assert (first["x fastest, from-to"], last["x fastest, from-to"]) == ("-", "4.90-5.10")
    assert "1.00 | - | - |" in document(found), "how sure this is, of the fastest itself"
    said = " ".join(english for english, _ in caption(found, PACED))
    assert "The fastest is chosen from the same figures" in said


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (4, "over 4 runs, 95 % by the percentile bootstrap (of so few it misses the true one one"),
        (7, "over 7 runs, by order statistics (at least 95 in 100 hold the true one)."),
    ],
)
def test_a_caption_says_what_its_intervals_are(runs: int, said: str) -> None:
    found = result(run("bytes"), *timed(*[2] * runs))
    told = " ".join(english for english, _ in caption(found, PACED))
    assert said in told
    assert "To stop where one happens to be narrow" not in told, "no run was ended by that"


def test_a_caption_says_of_unequal_numbers_of_runs_what_each_interval_is() -> None:
    few = timed(2, 2, 2, variant="websocket")
    found = result(run("bytes"), *timed(*[2] * 7), run("bytes", variant="websocket"), *few)
    told = " ".join(english for english, _ in caption(found, PACED))
    assert "over 3 to 7 runs, from 6 on by order statistics" in told


def test_where_narrow_intervals_ended_the_runs_a_caption_says_what_that_does() -> None:
    found = result(run("bytes"), *timed(*[2] * 8))
    told = [english for english, _ in caption(found, PACED) if "happens to be narrow" in english]
    assert len(told) == 1
    assert "by 3 %, 6 %, 10 %, of 100 that ended so 98, 94, 82 hold the true median" in told[0]


def test_a_baseline_may_be_named() -> None:
    ratios = [each.against for each in summaries(five(), PACED, baseline="streaming")]
    assert [found and round(found.value, 2) for found in ratios] == [0.33, 0.67, 1.0, 1.33, 1.67]


def test_a_prediction_that_fails_names_its_layer() -> None:
    exact = result(run("bytes", predicted=dict(STEADY)))
    assert (cells(exact)["predicted"], cells(exact)["difference"]) == ("200,000", "0")
    assert "mostly in" not in cells(exact)
    wrong = {**STEADY, "down/http_head/steady": 48_800.0, "up/text/steady": 1_010.0}
    found = result(run("bytes", predicted=wrong))
    assert (cells(found)["difference"], cells(found)["mostly in"]) == ("+1,190", "down\nhttp_head")
    said = [english for english, _ in caption(found, PACED)]
    assert (
        "polling differs from its prediction, in bytes: down http_head +1,200, up text -10." in said
    )


def test_what_was_not_predicted_has_no_such_rows() -> None:
    assert "predicted" not in cells(result(run("bytes")))


def test_what_one_of_each_should_weigh() -> None:
    each = {"handshake": {"up/http_head": 400.0, "down/http_head": 229.5}, "delivery": {"a": 12.0}}
    shown = cells(result(run("bytes", predicted_each=each)))
    assert (shown["handshake and join"], shown["message delivered"]) == ("630", "12")
    assert "quiet minute" not in shown


def test_segments_are_said_to_be_counted_or_estimated() -> None:
    counted = result(run("bytes", segments=Segments(150, 220, 7_800, 11_440)))
    guessed = result(run("bytes", segments=Segments(150, 220, 7_800, 11_440, estimated=True)))
    assert cells(counted)["segments up"] == cells(guessed)["segments up"] == "150"
    assert cells(counted)["header bytes"] == "19,240"
    assert [line for line, _ in caption(counted, PACED) if "by the kernel's count" in line]
    assert [line for line, _ in caption(guessed, PACED) if "estimated from the bytes" in line]


def test_of_several_byte_runs_one_is_shown_whole() -> None:
    def windows(size: int) -> dict[str, Traffic]:
        return {**WINDOWS, "steady": Traffic(0, size, {"up/text/steady": size})}

    runs = [run("bytes", number, windows=windows(size)) for number, size in enumerate((9, 1, 5))]
    (column,) = columns(result(*runs), PACED)
    assert (column.steady.both, column.steady.requests, column.byte_runs) == (5, 5, 3)


def test_a_server_that_is_not_ours_has_no_figures() -> None:
    found = result(run("bytes", server=None), *timed(2, 2, 2, server=None))
    assert not [label for label in cells(found) if label.startswith(("server", "memory"))]
    assert [line for line, _ in caption(found, PACED) if line.startswith("Server: not started")]


def test_memory_of_a_connection_needs_a_crowd_and_a_growth() -> None:
    crowd = PACED.but(name="crowd", clients=200)
    for grown, said in ((42_000_000, "210.0"), (1_000_000, None)):
        use = ServerUse(0.1, 40_000_000, 40_000_000 + grown)
        runs = [run("bytes", workload="crowd"), *timed(2, 2, 2, workload="crowd", server=use)]
        shown = cells(result(*runs, workloads=[crowd]), crowd)
        assert shown.get("memory/connection, kB") == said


def test_a_wrong_fate_voids_the_latency() -> None:
    bad = run("latency", 2, wrong=["message 3 at client 4: lost"])
    shown = cells(result(run("bytes"), run("latency"), bad))
    assert shown["lost"] == "1"
    assert shown["latency p50, ms"] == shown["uncorrected p99, ms"] == "void"
    assert "p50, x fastest" not in shown


def test_a_storm_has_the_time_to_come_back() -> None:
    storm = WORKLOADS["storm"]
    runs = [run("bytes", workload="storm"), *timed(2, workload="storm", back=hdr(40, times=9))]
    found = result(*runs, workloads=[storm])
    assert cells(found, storm)["back again p50, ms"] == "40.0"
    assert [line for line, _ in caption(found, storm) if "until the server's first answer" in line]


CLOSED = PACED.but(name="closed", loop="closed")


def closed(**changes: Any) -> Result:
    """A closed loop that ought to have begun every message 48 ms earlier than it did."""
    slow = timed(50, workload="closed", uncorrected=hdr(2, times=1_000), **changes)
    return result(run("bytes", workload="closed"), *slow, workloads=[CLOSED])


def test_a_closed_loop_shows_what_its_tools_would_and_what_they_leave_out() -> None:
    found = closed(unsent=7)
    shown = cells(found, CLOSED)
    assert (shown["latency p50, ms"], shown["uncorrected p50, ms"]) == ("50.0", "2.00")
    assert shown["unsent, all runs"] == "7"
    titles = {
        row.label: group.title
        for group in groups(found, CLOSED, columns(found, CLOSED))
        for row in group.rows
    }
    assert titles["latency p99, ms"] == titles["probes' p99, ms"] == "from the schedule"
    assert titles["uncorrected p99, ms"] == "as a closed-loop tool"
    said = [english for english, _ in caption(found, CLOSED)]
    assert [line for line in said if line.startswith("Load: closed loop")]
    assert [line for line in said if line.startswith("Latency: from the scheduled moment")]
    (told,) = [line for line in said if "coordinated omission" in line]
    assert "What a closed-loop tool reports is the uncorrected latency" in told


def test_an_open_loop_has_no_unsent_messages() -> None:
    assert "unsent, all runs" not in cells(result(run("bytes"), *timed(2, 2, 2)))


def test_a_closed_loop_without_a_schedule_says_that_its_tail_is_too_good() -> None:
    found = closed()
    bare = result(
        run("bytes", workload="closed"),
        *timed(2, workload="closed", uncorrected=hdr()),
        workloads=[CLOSED],
    )
    assert "uncorrected p50, ms" in cells(found, CLOSED)
    assert "uncorrected p50, ms" not in cells(bare, CLOSED)
    said = [english for english, _ in caption(bare, CLOSED)]
    assert [line for line in said if line.endswith("and the tail is too good.")]
    assert [line for line in said if line.startswith("Latency: from the moment the sending began")]
    assert not [line for line in said if "uncorrected" in line]


def test_a_page_without_warnings_claims_no_schedule_for_a_closed_loop() -> None:
    open_loop = result(run("bytes"), *timed(2, 2, 2))
    assert "the generator kept its schedule" in page(open_loop)
    closed_loop = page(closed(missed_ticks=987))
    assert "the generator kept its schedule" not in closed_loop
    assert "987" not in closed_loop, "who waits for an answer has missed no tick"


# The terminal


def test_five_variants_fit_into_80_columns() -> None:
    screen = Console(width=80, record=True, file=StringIO())
    for workload in five().workloads:
        screen.print(table(five(floor=FLOOR), workload))
    lines = screen.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "…" in line]
    heads = ["polling", "longpolling", "streaming", "websocket", "socketio"]
    assert [line.split() for line in lines].count(heads) == 2
    assert ["latency", "p50,", "ms", "1.00", "2.00", "3.00", "4.00", "5.00"] in [
        line.split() for line in lines
    ]
    assert ["floor:", "TCP", "p50,", "ms", *["0.07"] * 5] in [line.split() for line in lines]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_caption_names_layer_clock_load_and_sample_in_both_languages(name: str) -> None:
    workload = WORKLOADS[name]
    runs = [run("bytes", workload=name), *timed(2, 2, 2, workload=name)]
    lines = list(caption(result(*runs, workloads=[workload], floor=FLOOR), workload))
    english = " ".join(line for line, _ in lines)
    assert workload.load_model in english
    assert "seed 1" in english
    assert "TCP's payload" in english
    assert "1 run" in english
    assert "loopback of one host, not shaped" in english
    if workload.messages:
        assert "monotonic clock" in english
        assert "3 runs, 3,000 deliveries a variant" in english
        assert "1,234 round trips" in english
    for setting in workload.settings:
        assert setting in english
    assert all(re.search("[가-힣]", korean) for _, korean in lines)
    assert not [line for line, _ in lines if re.search("[가-힣]", line)]


# The page


LINKS = ("href", "src", "xlink:href")


class Reader(HTMLParser):
    """Checks that tags are closed in order; collects their names and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            value or "" for name, value in attrs if name in ("href", "src", "xlink:href")
        ]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.remove(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    return reader


def test_the_page_is_whole_and_asks_for_nothing_from_outside() -> None:
    html = page(five(floor=FLOOR, shaping=SHAPING))
    reader = read(html)
    assert all(link.startswith("#") for link in reader.links)
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert reader.tags.count("svg") == 5, "idle bytes; bytes, latency, timeline, server of paced"


def test_the_page_answers_its_questions_and_names_its_conditions() -> None:
    html = page(five(floor=FLOOR, shaping=SHAPING))
    for said in (
        PACED.question_ko,
        "How sure this is",
        "the time budget ended (± 1.0 %)",
        "<h2>Method",
        "Linux 6",
        "TCP, raw",
        "n = 1,234",
        "a relay that holds bytes back (no root)",
        "It loses nothing.",
        "measured 70.10 ms at least",
        "for latency 4g, emulated; for bytes loopback",
    ):
        assert said in html


def test_an_emulated_network_is_told_with_what_was_measured_of_it() -> None:
    found = five(shaping=SHAPING)
    said = [english for english, _ in caption(found, PACED)]
    assert "Network: for latency 4g, emulated; for bytes loopback." in said
    assert [line for line in said if "at least 70 ms, measured 70.40 ms in the median" in line]
    assert "packets cannot be carried here: no root." in page(found)


def test_warnings_come_first_and_a_void_latency_is_not_drawn() -> None:
    bad = run("latency", wrong=["message 3 at client 4: <lost>"])
    html = page(result(run("bytes"), bad))
    read(html)
    assert html.index("message 3 at client 4: &lt;lost&gt;") < html.index("<table")
    assert html.count("<svg") == 2, "bytes and server alone"
    assert page(result(run("bytes"), run("latency"))).count("<svg") == 4


def test_names_are_only_text() -> None:
    name = "<b>&\"'"
    odd = PACED.but(name=name, question="<i>?")
    found = result(
        run("bytes", workload=name, variant="<u>"),
        *timed(2, workload=name, variant="<u>"),
        workloads=[odd],
    )
    html = page(found)
    assert not {"b", "i", "u"} & set(read(html).tags)


def test_a_result_without_runs_has_a_page() -> None:
    read(page(result(ended="Interrupted")))
    assert "Interrupted" in document(result(ended="Interrupted"))


# Markdown and files


def test_markdown_has_the_same_cells_as_the_table() -> None:
    text = document(five())
    lines = text.splitlines()
    assert "| latency p50, ms | 1.00 | 2.00 | 3.00 | 4.00 | 5.00 |" in lines
    assert "|  | polling | longpolling | streaming | websocket | socketio |" in lines
    tables = [line for line in lines if line.startswith("|")]
    assert {line.count("|") - line.count("\\|") for line in tables} == {7, 9}
    assert "## Method" in lines


def test_markdown_cells_stay_cells() -> None:
    bad = run("latency", wrong=["a|b <script>\nmessage"])
    assert "a\\|b &lt;script> message" in document(result(run("bytes"), bad))


def test_reports_of_a_file(tmp_path: Path) -> None:
    path = results.save(five(), tmp_path)
    assert report_files(path) == path.with_suffix(".html")
    assert path.with_suffix(".html").read_text("utf-8") == page(five())
    assert report_files(path, markdown=True) == path.with_suffix(".md")
    assert path.with_suffix(".md").read_text("utf-8") == document(five())
    assert report_files(path, tmp_path / "own.html") == tmp_path / "own.html"


def test_a_report_never_takes_the_place_of_its_result(tmp_path: Path) -> None:
    path = results.save(five(), tmp_path)
    before = path.read_bytes()
    for out in (path, tmp_path):
        with pytest.raises(UsageError, match="give a new file's"):
            report_files(path, out)
    assert path.read_bytes() == before


def test_a_report_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = results.save(five(), tmp_path)
    with pytest.raises(LabError, match="No such file or directory"):
        report_files(path, tmp_path / "none" / "page.html")
    with pytest.raises(LabError, match="No such file"):
        report_files(tmp_path / "none.json")
