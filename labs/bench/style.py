"""How the report looks, on a screen and on paper."""

STYLE = """
:root { --ink: #1c1c1c; --soft: #5c5c5c; --line: #d8d8d8; --box: #f5f5f2; --warn: #fff3d6 }
body { margin: 2rem auto; max-width: 56rem; padding: 0 1rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, "Noto Sans KR", "Noto Sans CJK KR", sans-serif }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.25rem; margin: 2.5rem 0 .2rem }
.ko { color: var(--soft) } p { margin: .3rem 0 }
section { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .88rem; margin: .8rem 0 }
td { white-space: nowrap; font-variant-numeric: tabular-nums }
th, td { padding: .16rem .5rem; text-align: right }
th:first-child { text-align: left; font-weight: normal } thead th { border-bottom: 2px solid }
th small { color: var(--soft); margin-left: .5em; white-space: nowrap }
tbody { border-bottom: 1px solid var(--line) } tr.wrong td { color: #b00020; font-weight: bold }
table.runs tbody th { white-space: nowrap }
tr.title th { padding-top: .4rem; color: var(--soft); font-style: italic }
tr.title ~ tr th { padding-left: 1.3rem } tr.title th { padding-left: .5rem }
.caption { font-size: .82rem } figure { margin: 1rem 0; break-inside: avoid }
figure svg { width: 100%; height: auto } figcaption { font-size: .88rem }
.box { background: var(--box); border: 1px solid var(--line); padding: .6rem 1rem; margin: 1rem 0;
  font-size: .88rem; break-inside: avoid } .warn { background: var(--warn) }
.box h2 { margin-top: .2rem } dt { font-weight: 600 } dd { margin: 0 0 .3rem 1rem }
@page { margin: 14mm }
@media print { body { margin: 0; padding: 0; max-width: none; font-size: 10pt }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  section { overflow: visible } h2 { break-after: avoid } tr { break-inside: avoid }
  table { font-size: .78rem } tbody { break-inside: avoid } thead { display: table-header-group } }
"""
