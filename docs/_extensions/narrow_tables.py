"""Prepare the tables of a page for narrow screens.

A table of prose with three columns or more, or with long texts or words in its first
one, is shown there as a list of cards, one for each row, and each cell needs the title
of its column. A table of figures, whose columns are centred or aligned to the right,
scrolls. ``tables.css`` does the rest.

A header without a word is left out. The short words of a piece of code, such as
``--timeout 2``, are not broken, in a table or elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

_ALIGNED = {"text-center", "text-right"}  # what a table of figures, or marks, has
_MANY = 9  # columns of figures, for which a page leaves more room
_FEWEST = 3  # columns; two are narrow enough, unless the first one is wide
_ROOM = 64  # characters
_BRIEF = 11  # characters; as wide as the place that tables.css leaves beside a cell
_SHORT = 20  # characters of a word that always finds room
_LONG = 24  # characters of a word; a longer one may be broken anywhere


class Prepare(SphinxPostTransform):
    """Mark each table as figures or as cards, and tell each cell its title."""

    default_priority = 400
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        for table in self.document.findall(nodes.table):
            _prepare(table)
        for code in self.document.findall(nodes.literal):
            if all(len(word) <= _SHORT for word in code.astext().split()):
                code["classes"].append("whole")


def _prepare(table: nodes.table) -> None:
    group = table.next_node(nodes.tgroup)
    head, body = group.next_node(nodes.thead), group.next_node(nodes.tbody)
    titles = [cell.astext() for cell in head[0]] if head else []
    if head and not any(titles):
        group.remove(head)
    cells = [cell for row in body for cell in row]
    if any(len(word) > _LONG for word in body.astext().split()):
        table["classes"].append("long-words")
    if any(not _ALIGNED.isdisjoint(cell["classes"]) for cell in cells):
        table["classes"].append("figures")
        if len(titles) >= _MANY:
            table["classes"].append("wide")
    elif len(titles) >= _FEWEST or (titles and _is_long(row[0] for row in body)):
        table["classes"].append("cards")
        if 0 < max(map(len, titles[1:])) <= _BRIEF:
            table["classes"].append("brief")
        for row in body:
            for cell, title in zip(row, titles, strict=True):
                cell["title"] = title
                if not cell.astext():
                    cell["classes"].append("empty")


def _is_long(first_cells: Iterable[nodes.Element]) -> bool:
    texts = [cell.astext() for cell in first_cells]
    words = [word for text in texts for word in text.split()]
    return max(map(len, texts)) > _ROOM or max(map(len, words)) > _SHORT


def _visit_cell(translator: HTML5Translator, node: nodes.entry) -> None:
    HTML5Translator.visit_entry(translator, node)
    if title := node.get("title"):
        tag = translator.body[-1]
        attribute = f' data-title="{escape(title)}"'
        translator.body[-1] = f"{tag[:3]}{attribute}{tag[3:]}"


def _depart_cell(translator: HTML5Translator, node: nodes.entry) -> None:
    HTML5Translator.depart_entry(translator, node)


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_post_transform(Prepare)
    app.add_node(nodes.entry, override=True, html=(_visit_cell, _depart_cell))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
