"""The report: one HTML page that opens offline, prints well and says how it was measured."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from labs.bench import plots
from labs.bench.results import Result, Run
from labs.bench.stats import latency, warnings
from labs.bench.table import caption, columns, groups, number
from labs.bench.workload import Workload

STYLE = """
:root { --ink: #1c1c1c; --soft: #5c5c5c; --line: #d8d8d8; --box: #f5f5f2; --warn: #fff3d6 }
body { margin: 2rem auto; max-width: 56rem; padding: 0 1rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, "Noto Sans KR", "Noto Sans CJK KR", sans-serif }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.25rem; margin: 2.5rem 0 .2rem }
.ko { color: var(--soft) } p { margin: .3rem 0 }
section { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .88rem; margin: .8rem 0 }
th, td { padding: .22rem .5rem; text-align: right; font-variant-numeric: tabular-nums }
th:first-child { text-align: left; font-weight: normal } thead th { border-bottom: 2px solid }
th small { color: var(--soft); margin-left: .5em; white-space: nowrap }
tbody { border-bottom: 1px solid var(--line) } tr.wrong td { color: #b00020; font-weight: bold }
.caption { font-size: .82rem } figure { margin: 1rem 0; break-inside: avoid }
figure svg { width: 100%; height: auto } figcaption { font-size: .88rem }
.box { background: var(--box); border: 1px solid var(--line); padding: .6rem 1rem; margin: 1rem 0;
  font-size: .88rem; break-inside: avoid } .warn { background: var(--warn) }
.box h2 { margin-top: .2rem } dt { font-weight: 600 } dd { margin: 0 0 .3rem 1rem }
@media print { body { margin: 0; max-width: none; font-size: 11pt }
  section { break-inside: avoid } }
"""

METHOD = (
    "Each server runs in a process of its own, the clients in another, over real sockets on "
    "127.0.0.1. The schedule is drawn from the seed before anything is sent and is the same for "
    "every variant; no message waits for an answer to another.",
    "Bytes are counted by a relay in a third process, in runs of their own, which share the "
    "machine with one another: bytes do not depend on speed, except that a busier server puts "
    "more messages into one answer. Requests are counted from the heads that pass. Joining and "
    "leaving are phases of their own and not in the figures of the window.",
    "Latency runs have no relay, go one at a time and in seeded random order. Every delivery is "
    "measured from the moment its message was meant to be sent, so that a queue at the sender "
    "counts; the uncorrected figure stands beside it. The generator collects no garbage while "
    "the window lasts.",
    "Each message has one fate at each client: delivered, late, recovered, reordered, duplicate "
    "or lost. A run with one of the last three gives no latency.",
    "Messages of all runs are counted; other figures are medians over runs; percentiles are read "
    "from the histograms of all runs added together.",
)
METHOD_KO = (
    "서버와 클라이언트는 서로 다른 프로세스이고, 127.0.0.1의 실제 소켓으로 통신한다. "
    "언제 누가 무엇을 보낼지는 시드로 미리 정하며 모든 방식에 똑같다. 바이트는 중계기를 거치는 "
    "별도의 실행에서 세고, 지연은 중계기 없이 하나씩 잰다. 메시지를 하나라도 잃거나, 중복되거나, "
    "순서가 바뀐 실행에서는 지연을 말하지 않는다."
)


def write(result: Result, path: Path) -> Path:
    """Write the page; answers its path."""
    path.write_text(page(result), encoding="utf-8")
    return path


def page(result: Result) -> str:
    """The whole page."""
    body = "\n".join(
        [
            *_head(result),
            *_warnings(result),
            *(part for workload in result.workloads for part in _workload(result, workload)),
            *_method(),
            *_conditions(result),
            *_runs(result),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>One chat, {len(result.variants)} transports: {escape(result.made_at)}</title>\n"
        f"<style>{STYLE}</style>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _head(result: Result) -> Iterator[str]:
    names = ", ".join(result.variants)
    yield "<header><h1>One chat, measured over its transports</h1>"
    yield '<p class="ko" lang="ko">같은 채팅을 여러 전송 방식으로 잰 결과</p>'
    yield f"<p>{escape(names)}. Measured {escape(result.made_at)} in {result.elapsed_s:.0f} s on "
    yield f"{escape(result.machine.cpu)}, {result.machine.cores} cores.</p></header>"


def _warnings(result: Result) -> Iterator[str]:
    said = warnings(result)
    if not said:
        yield '<div class="box"><p>No warnings: nothing was lost, duplicated or reordered, the '
        yield "generator kept its schedule, and other programs kept quiet.</p></div>"
        return
    yield '<div class="box warn"><h2>Warnings <span class="ko" lang="ko">주의</span></h2><ul>'
    yield from (f"<li>{escape(each)}</li>" for each in said)
    yield "</ul></div>"


def _workload(result: Result, workload: Workload) -> Iterator[str]:
    if not columns(result, workload):
        return
    yield f"<section><h2>{escape(workload.name)}: {escape(workload.question)}</h2>"
    yield f'<p class="ko" lang="ko">{escape(workload.question_ko)}</p>'
    yield from _table(result, workload)
    yield '<div class="caption">'
    for english, korean in caption(result, workload):
        yield f'<p>{escape(english)} <span class="ko" lang="ko">{escape(korean)}</span></p>'
    yield "</div></section>"
    yield from _figures(result, workload)


def _table(result: Result, workload: Workload) -> Iterator[str]:
    shown = columns(result, workload)
    heads = "".join(f"<th>{escape(column.variant)}</th>" for column in shown)
    yield f"<table><thead><tr><th></th>{heads}</tr></thead>"
    for group in groups(workload):
        yield "<tbody>"
        for row in group:
            cells = "".join(f"<td>{escape(row.read(column))}</td>" for column in shown)
            label = f'{escape(row.label)}<small lang="ko">{escape(row.label_ko)}</small>'
            yield f'<tr><th scope="row">{label}</th>{cells}</tr>'
        yield "</tbody>"
    yield "</table>"


def _figures(result: Result, workload: Workload) -> Iterator[str]:
    if workload.arrivals == "none":
        yield _figure(
            plots.idle_bytes(result, workload),
            "What a silent client costs. Each gridline is ten times the one before.",
            "말이 없는 클라이언트 하나가 1분 동안 쓰는 바이트. 눈금 하나가 열 배이다.",
        )
        return
    yield _figure(
        plots.bytes_per_delivery(result, workload),
        "All bytes of the window, sends and empty answers included, by deliveries.",
        "구간의 모든 바이트(보내기와 빈 응답 포함)를 전달된 메시지 수로 나눈 것.",
    )
    if any(column.corrected for column in columns(result, workload)):
        yield _figure(
            plots.latency_cdf(result, workload),
            "How many deliveries were there by then. Further left is sooner; the tail above "
            "90 % is what people complain about.",
            "그때까지 도착한 비율. 왼쪽일수록 빠르다. 90 % 위의 꼬리가 사람들이 불평하는 부분이다.",
        )


def _figure(svg: str, english: str, korean: str) -> str:
    return (
        f'<figure>{svg}<figcaption>{escape(english)} <span class="ko" lang="ko">'
        f"{escape(korean)}</span></figcaption></figure>"
    )


def _method() -> Iterator[str]:
    yield '<div class="box"><h2>Method <span class="ko" lang="ko">방법</span></h2>'
    yield from (f"<p>{escape(each)}</p>" for each in METHOD)
    yield f'<p class="ko" lang="ko">{escape(METHOD_KO)}</p></div>'


def _conditions(result: Result) -> Iterator[str]:
    machine = result.machine
    yield '<div class="box"><h2>Conditions <span class="ko" lang="ko">조건</span></h2><dl>'
    pairs = {
        "Machine": f"{machine.cpu}, {machine.cores} cores, {machine.memory_bytes / 1e9:.0f} GB; "
        f"{machine.system}; {machine.kernel}",
        "Versions": ", ".join(f"{name} {number}" for name, number in result.versions.items()),
        "Seed": str(result.seed),
        "Settings": "; ".join(_settings(workload) for workload in result.workloads),
    }
    for name, value in pairs.items():
        yield f"<dt>{name}</dt><dd>{escape(value)}</dd>"
    yield "</dl></div>"


def _settings(workload: Workload) -> str:
    changed = ", ".join(f"{name} {value:g}" for name, value in workload.settings.items())
    return f"{workload.name}: {changed or 'defaults'}; heads of {workload.headers} clients"


def _runs(result: Result) -> Iterator[str]:
    yield '<section><h2>Runs <span class="ko" lang="ko">실행 하나하나</span></h2><table><thead><tr>'
    heads = ("run", "p50, ms", "p99, ms", "missed ticks", "generator CPU, %", "others, cores")
    yield "".join(f"<th>{head}</th>" for head in heads) + "</tr></thead><tbody>"
    yield from (_run(run) for run in sorted(result.runs, key=lambda run: run.started_at))
    yield "</tbody></table></section>"


def _run(run: Run) -> str:
    found = latency([run.outcome.corrected]) if run.kind == "latency" and run.valid else None
    cells = (
        number(found.p50_ms if found else None, 2),
        number(found.p99_ms if found else None, 2),
        number(run.outcome.missed_ticks),
        number(run.outcome.generator_cpu * 100),
        number(run.others_cpu, 2) if run.kind == "latency" else number(None),
    )
    name = f"{run.workload}, {run.variant}, {run.kind} {run.number}"
    mark = "" if run.valid else ' class="wrong"'
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr{mark}><th scope="row">{escape(name)}</th>{row}</tr>'
