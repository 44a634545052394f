"""Drawings that survive a code-hosting site, which takes styles out of what it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as Xml

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
WIDEST = 760  # pixels: what a notebook's column has room for
PIXELS = 1.4  # for each point of a plot, which has no size of its own
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
MEDIA = re.compile(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
FONT = re.compile(r"(?:(\w+) )?([\d.]+px) (.+)")
UNSEEN = (f"{{{SVG}}}style", f"{{{SVG}}}metadata")

Rules = list[tuple[str, str]]

Xml.register_namespace("", SVG)
Xml.register_namespace("xlink", XLINK)


def plain(svg: str) -> str:
    """The same picture with every style as attributes, and a size.

    It knows as much of CSS as our drawings use: rules for `*`, for an element's name, for a class.
    """
    root = Xml.fromstring(svg)
    rules = _rules(root)
    _wear(root, (said for selector, said in rules if selector == "*"))  # the others inherit it
    for element in root.iter():
        _dress(element, rules)
    for parent in list(root.iter()):
        for child in [each for each in parent if each.tag in UNSEEN]:
            parent.remove(child)
    *_, width, height = map(float, root.attrib["viewBox"].split())
    natural = float(root.get("width", width * PIXELS))
    scale = min(natural, WIDEST) / width
    root.set("width", f"{width * scale:.0f}")
    root.set("height", f"{height * scale:.0f}")
    return Xml.tostring(root, encoding="unicode")


def _rules(root: Xml.Element) -> Rules:
    """Selectors and what they declare: a class, which overrules a name, after the names."""
    text = "".join(each.text or "" for each in root.iter(UNSEEN[0]))
    found = [(selector.strip(), said) for selector, said in RULE.findall(MEDIA.sub("", text))]
    return sorted(found, key=lambda rule: rule[0].startswith("."))


def _dress(element: Xml.Element, rules: Rules) -> None:
    name = str(element.tag).rpartition("}")[2]
    own = {name, *(f".{each}" for each in element.attrib.pop("class", "").split())}
    said = [declared for selector, declared in rules if selector in own]
    _wear(element, (*said, element.attrib.pop("style", "")))


def _wear(element: Xml.Element, said: Iterator[str] | tuple[str, ...]) -> None:
    for declared in said:
        for attribute, value in _attributes(declared):
            element.set(attribute, value)


def _attributes(declared: str) -> Iterator[tuple[str, str]]:
    for each in declared.split(";"):
        name, _, value = (part.strip() for part in each.partition(":"))
        font = FONT.fullmatch(value) if name == "font" else None
        if font:
            yield "font-weight", font[1] or "normal"
            yield "font-size", font[2]
            yield "font-family", font[3]
        elif name:
            yield name, value
