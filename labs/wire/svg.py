"""SVG by hand: the style of our drawings, and what they are made of."""

from __future__ import annotations

from unicodedata import east_asian_width
from xml.etree import ElementTree as Xml

INK, PALE = "#1f2933", "#616e7c"
COLOURS = {"request": "#1b4f91", "response": "#1b4f91", "push": "#c2410c", "frame": "#1b4f91"}
FONT = "'Noto Sans', 'Noto Sans CJK KR', 'Noto Sans KR', 'Malgun Gothic', sans-serif"
STYLE = f"""
text {{ font: 12px {FONT}; fill: {INK}; }}
.title {{ font-size: 19px; font-weight: 600; }}
.korean {{ font-size: 14px; fill: {PALE}; }}
.small {{ font-size: 10.5px; fill: {PALE}; }}
.who {{ font-size: 14px; font-weight: 600; }}
.label {{ paint-order: stroke; stroke: #fff; stroke-width: 3px; stroke-linejoin: round; }}
.life {{ stroke: {PALE}; stroke-width: 1.2; }}
.push {{ stroke-width: 2.4; }}
.response {{ stroke-dasharray: 5 3; }}
.cut {{ fill: #fff; }}
.held {{ fill: #f3b36b; stroke: {INK}; stroke-width: 0.8; }}
.open {{ fill: #d6e4f5; stroke: {INK}; stroke-width: 0.8; }}
.brief {{ fill: #ffffff; stroke: {INK}; stroke-width: 0.8; }}
@media print {{ rect.band {{ print-color-adjust: exact; }} }}
"""


def document(width: float, height: float, title: str, described: str) -> Xml.Element:
    """An empty drawing on white; `title` and `described` are for those who do not see it."""
    svg = Xml.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "role": "img",
            "aria-labelledby": "title desc",
            "lang": "en",
        },
    )
    Xml.SubElement(svg, "title", id="title").text = clean(title)
    Xml.SubElement(svg, "desc", id="desc").text = clean(described)
    Xml.SubElement(svg, "style").text = STYLE
    arrowheads(svg)
    rect(svg, 0, 0, width, height, "", fill="#ffffff")
    return svg


def arrowheads(svg: Xml.Element) -> None:
    """Define the head of each kind of arrow, in its colour."""
    defs = Xml.SubElement(svg, "defs")
    for kind, colour in COLOURS.items():
        marker = Xml.SubElement(
            defs,
            "marker",
            id=f"head-{kind}",
            viewBox="0 0 10 10",
            refX="9",
            refY="5",
            markerWidth="9",
            markerHeight="9",
            markerUnits="userSpaceOnUse",
            orient="auto",
        )
        Xml.SubElement(marker, "path", d="M0,1 L10,5 L0,9 z", fill=colour)


def text(
    svg: Xml.Element, x: float, y: float, text: str, look: str, anchor: str = "middle"
) -> Xml.Element:
    """A line of text; `look` is a class of the style."""
    element = Xml.SubElement(
        svg, "text", {"x": f"{x:g}", "y": f"{y:g}", "class": look, "text-anchor": anchor}
    )
    element.text = clean(text)
    return element


def line(svg: Xml.Element, x1: float, y1: float, x2: float, y2: float, look: str) -> Xml.Element:
    """A straight line."""
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return Xml.SubElement(
        svg, "line", {"class": look} | {name: f"{value:g}" for name, value in ends.items()}
    )


def rect(
    svg: Xml.Element, x: float, y: float, width: float, height: float, look: str, **more: str
) -> Xml.Element:
    """A rectangle; `more` are attributes of its own."""
    sizes = {"x": x, "y": y, "width": width, "height": height}
    values = {name: f"{value:g}" for name, value in sizes.items()}
    return Xml.SubElement(svg, "rect", {"class": look} | values | more)


def short(text: str, chars: int) -> str:
    """Text that fits, wide characters counted as two (Unicode Annex 11)."""
    room = chars
    for index, char in enumerate(text):
        room -= 2 if east_asian_width(char) in "WF" else 1
        if room < 0:
            return text[: index - 1] + "…"
    return text


def clean(text: str) -> str:
    """What can stand in a document."""
    # XML has no way to write most control characters.
    return "".join(char if char.isprintable() else "�" for char in text)
