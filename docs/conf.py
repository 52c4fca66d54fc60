"""Sphinx configuration: `make docs`."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

project = "foveal"
author = "The foveal authors"
copyright = "2026, the foveal authors"
release = version = installed_version("foveal")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"foveal {release}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["foveal.css"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_math_renderer = "mathml"


def visit_math(self: Any, node: nodes.Element) -> None:
    """Formulas as MathML, made here: browsers show it by themselves, offline too."""
    inline = isinstance(node, nodes.math)
    self.body.append(convert(node.astext(), display="inline" if inline else "block"))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math, None))
