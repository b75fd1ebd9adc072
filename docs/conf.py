"""How Sphinx builds the documentation. ``scripts/test`` does, warnings as errors."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import aioudp

_here = Path(__file__).parent
_pyproject = tomllib.loads((_here.parent / "pyproject.toml").read_text())
sys.path.append(str(_here / "_extensions"))

project = "aioudp"
author = "aioudp contributors"
project_copyright = "2026, aioudp contributors"
release = aioudp.__version__
version = release

extensions = [
    "descriptions",
    "myst_parser",
    "narrow_tables",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "**/_*.md"]  # the latter are included by others
html_theme = "furo"
pygments_dark_style = "github-dark"
html_static_path = ["_static"]
html_css_files = ["site.css", "tables.css", "beside.css"]
html_title = f"aioudp {release}"
html_logo = html_favicon = "_static/logo.svg"
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
html_theme_options: dict[str, object] = {}
if repository := _pyproject["project"].get("urls", {}).get("Repository"):
    html_theme_options |= {
        "source_repository": repository,
        "source_branch": "main",
        "source_directory": "docs/",
    }
default_role = "py:obj"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

napoleon_google_docstring = True
napoleon_numpy_docstring = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"  # endpoints are made by functions
maximum_signature_line_length = 72
python_use_unqualified_type_names = True
autodoc_default_options = {"members": True, "show-inheritance": True}

# Links into Python's own documentation need the network, and a build without it has
# to pass; so they are made where the pages are published, and nowhere else.
if os.environ.get("READTHEDOCS") == "True":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {"python": ("https://docs.python.org/3", None)}

nitpicky = True
nitpick_ignore_regex = [
    # Python's own names, for builds without those links.
    (
        r"py:.*",
        (
            r"(asyncio|socket"
            r"|(asyncio|collections|contextlib|contextvars|os|socket|ssl|typing|types)\..+"
            r"|Any|Awaitable|Callable|Coroutine|Generator|Iterable|Sequence|TracebackType"
            r"|(\w*Error|\w*Exception|\w*Warning)"
            r"|bool|bytearray|bytes|dict|float|frozenset|int|list|memoryview|object|set|str"
            r"|tuple|type|None|True|False)"
        ),
    ),
    # What the simulation is made of; its users see it through the names above it.
    (r"py:class", r"aioudp\.testing\.\w+\..+|Place|Rule"),
    # Private names that signatures mention.
    (r"py:.*", r"(aioudp\.)?_\w+(\..+)?"),
]

doctest_global_setup = "import asyncio, socket\nimport aioudp"

# What a signature calls by its name; Python has expanded it by then.
autodoc_type_aliases = {"IPAddress": "aioudp.IPAddress"}
_ALIASES = {
    "tuple[str, int] | tuple[str, int, int, int] | str | bytes": "aioudp.Address",
    "bytes | bytearray | memoryview": "aioudp.Payload",
    # What the classes are generic in is for type checkers.
    "[~typing.Any]": "",
    "[~aioudp._types.AddressT]": "",
    "[~aioudp._types.AddressT_co]": "",
}


def _name_aliases(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    for written, alias in _ALIASES.items():
        signature = signature and signature.replace(written, alias)
        returns = returns and returns.replace(written, alias)
    return signature, returns


def _name_type_variables(app: Sphinx, doctree: nodes.document) -> None:
    """Show the type of an attribute that depends on the kind of endpoint."""
    for reference in doctree.findall(addnodes.pending_xref):
        if reference["reftarget"].endswith(".AddressT_co"):
            reference["reftarget"] = "aioudp.Address"
            reference.children = [nodes.Text("Address")]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", _name_aliases)
    app.connect("doctree-read", _name_type_variables)
