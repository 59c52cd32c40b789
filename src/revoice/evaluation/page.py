"""The empty page of the report: one HTML file without scripts, readable on light and dark screens."""

from collections.abc import Mapping
from html import escape
from string import Template

_STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #ffffff; --ink: #1d2024; --soft: #5c636c; --line: #dfe2e6;
        --accent: #b4501a; --warn: #fff1d6; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14161a; --card: #1c1f25; --ink: #e7e9ec; --soft: #a3abb5; --line: #333842; --accent: #f0975a;
          --warn: #3d3013; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .3rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
p { max-width: 46rem; margin: .4rem 0; }
.soft, caption, figcaption { color: var(--soft); }
.note { background: var(--warn); border-radius: 8px; padding: .7rem 1rem; margin: 1rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1.1rem; }
.tile b { display: block; white-space: nowrap; font-size: 1.55rem; line-height: 1.25; color: var(--accent); }
.tile span { color: var(--soft); font-size: .88rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: .6rem 0; }
caption { text-align: left; padding: .2rem 0 .5rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 600; overflow-wrap: break-word; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; }
td.n small { color: var(--soft); display: block; }
td.main { font-weight: 650; }
.card { margin: 1rem 0; }
.card h4 { margin: 0 0 .1rem; font-size: 1rem; }
figure { margin: .6rem 0; } img { max-width: 100%; height: auto; display: block; }
.players { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); gap: .6rem 1rem; }
.players div > span { display: block; font-size: .88rem; color: var(--soft); }
audio { width: 100%; height: 2.3rem; }
pre { overflow-x: auto; font-size: .8rem; background: var(--card); border: 1px solid var(--line); padding: .8rem; }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--accent); }
details table { font-size: .8rem; } details th, details td { padding-right: .6rem; }
@media (min-width: 70rem) { details .wide { width: calc(100vw - 2.5rem); margin-left: calc(50% - 50vw + 1.25rem); } }
figure.wide img { min-width: 40rem; }
@media (max-width: 44rem) { /* a telephone: lists and tables run downwards, each number beside its name */
  main { padding-top: 1.2rem; }
  dl { display: block; } dd { margin: 0 0 .5rem; }
  table, tbody, tbody tr, tbody th { display: block; }
  thead { display: none; }
  tbody tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  tbody th, td { border: 0; padding: .1rem 0; }
  td { display: flex; justify-content: space-between; gap: 1rem; }
  td::before { content: attr(data-head); color: var(--soft); }
  td:empty { display: none; } td:not(.n) > span { text-align: right; overflow-wrap: anywhere; }
  td.long { display: block; } td.long::before { content: none; } td.long > span { display: block; text-align: left; }
}
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def page(title: str, body: str) -> str:
    """A whole page; `title` is escaped, `body` is HTML."""
    return _PAGE.substitute(title=escape(title), style=_STYLE, body=body)


def facts_list(facts: Mapping[str, object]) -> str:
    """What was measured, by name, as an HTML list; a list of values has a line for each."""
    lines = {key: value if isinstance(value, list) else [value] for key, value in facts.items()}
    listed = "".join(
        f"<dt>{escape(str(key))}</dt><dd>{'<br>'.join(escape(str(value)) for value in values)}</dd>"
        for key, values in lines.items()
    )
    return f"<dl>{listed}</dl>"
