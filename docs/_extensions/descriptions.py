"""Describe each page to search engines, and to programs that preview a link.

The description is the page's first paragraph, or ``html_meta`` in its front matter.
"""

from __future__ import annotations

from html import escape
from textwrap import shorten
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_LONGEST = 200  # characters; search engines show fewer


def _describe(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    if doctree is None:
        return
    written = [node for node in doctree.findall(nodes.meta) if "content" in node]
    named = {node.get("name"): node["content"] for node in written}
    first = doctree.next_node(_is_prose)
    text = named.get("description") or (first.astext() if first else "")
    text = shorten(text, _LONGEST, placeholder=" ...")
    title = nodes.Text(context.get("title", "")).astext()
    tags = {"og:type": "website", "og:site_name": app.config.project, "og:title": title}
    if text:
        tags["og:description"] = text
        if "description" not in named:
            context["metatags"] += f'<meta name="description" content="{escape(text)}">'
    context["metatags"] += "".join(
        f'<meta property="{name}" content="{escape(content)}">'
        for name, content in tags.items()
    )


def _is_prose(node: nodes.Node) -> bool:
    return isinstance(node, nodes.paragraph) and isinstance(node.parent, nodes.section)


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("html-page-context", _describe)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
