"""The report: one HTML page that opens offline, prints well and says how it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from labs.bench import markdown as md
from labs.bench import plots, results
from labs.bench.cells import NOTHING, number
from labs.bench.conditions import METHOD, Method, conditions, floor_rows, network_rows
from labs.bench.results import Result, Run
from labs.bench.stats import latency, warnings
from labs.bench.style import STYLE
from labs.bench.summary import Summary
from labs.bench.sureness import SURE, sureness
from labs.bench.table import caption, columns, groups, parts
from labs.bench.workload import Workload
from labs.errors import LabError, UsageError

Row = Sequence[str]
RUN_HEADS = ("run", "p50, ms", "p99, ms", "missed ticks", "generator CPU, %", "others, cores")


def report_files(path: Path, out: Path | None = None, markdown: bool = False) -> Path:
    """Make the report of a result's file: a page, or `markdown`; answers what was written.

    `out` is where to, by default beside the result, with `.html` or `.md`. Raises `UsageError`
    where that would be the result itself, `LabError` for what is no result, is of another
    format, or cannot be written.
    """
    out = out or path.with_suffix(".md" if markdown else ".html")
    if out.is_dir() or out.resolve() == path.resolve():
        raise UsageError(f"{out} is no name for a report; give a new file's")
    result = results.load(path)
    return _save(out, md.document(result)) if markdown else write(result, out)


def write(result: Result, path: Path, method: Method = METHOD) -> Path:
    """Write the page; answers its path. Raises `LabError` when it cannot be written."""
    return _save(path, page(result, method))


def _save(path: Path, text: str) -> Path:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    return path


def page(result: Result, method: Method = METHOD) -> str:
    """The whole page; `method` is that of `labs bench` unless somebody else measured."""
    body = "\n".join(
        [
            *_head(result),
            *_warnings(result),
            *(part for workload in result.workloads for part in _workload(result, workload)),
            *_sureness(result),
            *_box("The floor", "바닥값", floor_rows(result)),
            *_box("Network", "네트워크", network_rows(result)),
            *_method(method),
            *_box("Conditions", "조건", conditions(result)),
            *_runs(result),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>One chat, {len(result.variants)} transports: {escape(result.made_at)}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
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
        kept = "the generator kept its schedule, "
        if any(workload.loop == "closed" for workload in result.workloads):
            kept = ""  # of that one it is late by what it is
        yield '<div class="box"><p>No warnings: nothing was lost, duplicated or reordered, '
        yield f"{kept}and other programs kept quiet.</p></div>"
        return
    yield f'<div class="box warn"><h2>Warnings {_ko("주의")}</h2><ul>'
    yield from (f"<li>{escape(each)}</li>" for each in said)
    yield "</ul></div>"


def _workload(result: Result, workload: Workload) -> Iterator[str]:
    shown = columns(result, workload)
    if not shown:
        return
    yield f'<section><h2 id="{escape(workload.name)}">{escape(_title(workload))}</h2>'
    yield f'<p class="ko" lang="ko">{escape(workload.question_ko)}</p>'
    for part in parts(shown):
        yield from _table(result, workload, part)
    yield '<div class="caption">'
    for english, korean in caption(result, workload):
        yield f"<p>{escape(english)} {_ko(korean)}</p>"
    yield "</div></section>"
    yield from _figures(result, workload, shown)


def _title(workload: Workload) -> str:
    return f"{workload.name}: {workload.question}" if workload.question else workload.name


def _table(result: Result, workload: Workload, shown: Sequence[Summary]) -> Iterator[str]:
    heads = "".join(f"<th>{escape(column.variant)}</th>" for column in shown)
    yield f"<table><thead><tr><th></th>{heads}</tr></thead>"
    for group in groups(result, workload, shown):
        yield "<tbody>"
        if group.title:
            title = f"{escape(group.title)} <small>{_ko(group.title_ko)}</small>"
            yield f'<tr class="title"><th colspan="{len(shown) + 1}">{title}</th></tr>'
        for row in group.rows:
            cells = "".join(f"<td>{escape(row.read(column))}</td>" for column in shown)
            label = f'{escape(row.label)}<small lang="ko">{escape(row.label_ko)}</small>'
            yield f'<tr><th scope="row">{label}</th>{cells}</tr>'
        yield "</tbody>"
    yield "</table>"


def _figures(result: Result, workload: Workload, shown: Sequence[Summary]) -> Iterator[str]:
    if not workload.messages:
        yield _figure(
            plots.idle_bytes(shown),
            "What a silent client costs. Each gridline is ten times the one before.",
            "말이 없는 클라이언트 하나가 1분 동안 쓰는 바이트. 눈금 하나가 열 배이다.",
        )
        return
    yield _figure(
        plots.bytes_by_layer(shown),
        "All bytes of the window, sends and empty answers included, by deliveries and by layer.",
        "구간의 모든 바이트(보내기와 빈 응답 포함)를 전달된 메시지 수로 나누어 층별로 쌓은 것.",
    )
    if any(column.corrected for column in shown):
        yield from _latency(result, workload)
    if any(column.server.cpus for column in shown):
        yield _figure(
            plots.server(shown),
            "What the server used. A dot is one run.",
            "서버가 쓴 CPU와 메모리. 점 하나가 실행 하나이다.",
        )


def _latency(result: Result, workload: Workload) -> Iterator[str]:
    yield _figure(
        plots.latency_cdf(result, workload),
        "How many deliveries were there by then. Further left is sooner; the tail above 90 % is "
        "what people complain about.",
        "그때까지 도착한 비율. 왼쪽일수록 빠르다. 90 % 위의 꼬리가 사람들이 불평하는 부분이다.",
    )
    # A few instants of a burst are no course of time.
    if workload.arrivals != "burst" and any(run.outcome.timeline for run in result.runs):
        yield _figure(
            plots.timeline(result, workload),
            "Latency over the window, all runs together: a line is the median of each slice, a "
            "dot its longest. A line that climbs is a queue that grows.",
            "구간 안에서의 지연, 모든 실행을 합친 것. 선은 조각마다의 중앙값, 점은 최댓값. "
            "올라가는 선은 줄이 길어지고 있다는 뜻이다.",
        )


def _figure(svg: str, english: str, korean: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(english)} {_ko(korean)}</figcaption></figure>"


def _sureness(result: Result) -> Iterator[str]:
    rows = list(sureness(result))
    if not rows:
        return
    yield f"<section><h2>How sure this is {_ko('얼마나 확실한가')}</h2>"
    yield from _grid(SURE.heads, rows)
    yield f'<div class="caption"><p>{escape(SURE.note)} {_ko(SURE.note_ko)}</p></div></section>'


def _box(title: str, korean: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    yield f'<div class="box"><h2>{title} {_ko(korean)}</h2><dl>'
    for name, value in rows:
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    yield "</dl></div>"


def _method(method: Method) -> Iterator[str]:
    yield f'<div class="box"><h2>Method {_ko("방법")}</h2>'
    yield from (f"<p>{escape(each)}</p>" for each in method.english)
    yield f'<p class="ko" lang="ko">{escape(method.korean)}</p></div>'


def _runs(result: Result) -> Iterator[str]:
    yield f"<section><h2>Runs {_ko('실행 하나하나')}</h2>"
    ordered = sorted(result.runs, key=lambda run: run.started_at)
    open_loops = {workload.name for workload in result.workloads if workload.loop == "open"}
    wrong = [not run.valid for run in ordered]
    yield from _grid(RUN_HEADS, [_run(run, run.workload in open_loops) for run in ordered], wrong)
    yield "</section>"


def _run(run: Run, open_loop: bool) -> Row:
    found = latency([run.outcome.corrected]) if run.kind == "latency" and run.valid else None
    return (
        f"{run.workload}, {run.variant}, {run.kind} {run.number}",
        number(found.p50_ms if found else None, 2),
        number(found.p99_ms if found else None, 2),
        # In a closed loop who is late waits for the server: no tick was missed.
        number(run.outcome.missed_ticks) if open_loop else NOTHING,
        number(run.outcome.generator_cpu * 100),
        number(run.others_cpu, 2) if run.kind == "latency" else NOTHING,
    )


def _grid(heads: Row, rows: Sequence[Row], wrong: Sequence[bool] = ()) -> Iterator[str]:
    """A table of words; rows that went wrong stand out."""
    yield '<table class="runs"><thead><tr>' + "".join(f"<th>{escape(head)}</th>" for head in heads)
    yield "</tr></thead><tbody>"
    for place, (name, *cells) in enumerate(rows):
        mark = ' class="wrong"' if wrong and wrong[place] else ""
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        yield f'<tr{mark}><th scope="row">{escape(name)}</th>{row}</tr>'
    yield "</tbody></table>"


def _ko(text: str) -> str:
    return f'<span class="ko" lang="ko">{escape(text)}</span>'
