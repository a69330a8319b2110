"""Sphinx's settings for the site; `python -m tools.site` builds it."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

project = "DeFusionNet Notebooks"
html_title = project
language = "en"
extensions = ["myst_nb"]
root_doc = "index"

nb_execution_mode = "off"
nb_merge_streams = True
nb_output_stderr = "remove"
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}  # progress bars are removed, and their scripts would come from a network
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a cell may begin with a heading two levels below the last one

html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": False}  # arrow keys scroll tables and outputs


def _mathml(translator, node: nodes.Node, display: str) -> None:
    """Write a formula as MathML, which browsers draw without a script."""
    try:
        translator.body.append(convert(node.astext(), display=display))
    except Exception as error:  # the converter raises one of many
        logging.getLogger(__name__).warning("formula %r: %s", node.astext(), error, location=node)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Draw formulas without a script from a network."""
    app.add_html_math_renderer(
        "mathml",
        (lambda translator, node: _mathml(translator, node, "inline"), None),
        (lambda translator, node: _mathml(translator, node, "block"), None),
    )
