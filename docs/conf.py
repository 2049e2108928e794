"""Sphinx's settings: `make docs` builds the site from the pages beside this file."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
ABOUT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

project = "keras_vit"
author = "The keras_vit authors"
copyright = author
version = release = re.findall(r'"(.+)"', (ROOT / "keras_vit/version.py").read_text("utf-8"))[0]

# The notebooks stand in examples/notebooks. Sphinx reads below this folder only, so each build
# copies them here, where git ignores them.
NOTEBOOKS = Path(__file__).with_name("notebooks")
shutil.rmtree(NOTEBOOKS, ignore_errors=True)
NOTEBOOKS.mkdir()
for page in (*ROOT.glob("examples/notebooks/*.ipynb"), ROOT / "examples/notebooks/README.md"):
    shutil.copy2(page, NOTEBOOKS)

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
suppress_warnings = ["misc.highlighting_failure"]

# Pages in Markdown. Notebooks are shown as they were saved, and need no script of another host.
myst_heading_anchors = 3
myst_links_external_new_tab = False
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, Any] = {}

# The reference: names as users write them, and what the docstrings say.
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# `name` in a docstring is code.
default_role = "code"

html_theme = "pydata_sphinx_theme"
html_title = "keras_vit"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {"**": ["pages.html"]}
html_show_sourcelink = False
html_theme_options = {
    "navbar_center": [],
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "icon_links": [
        {"name": "Source", "url": ABOUT["urls"]["Repository"], "icon": "fa-solid fa-code"}
    ],
}


def mark_code(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]):
    """Tells Sphinx that an indented paragraph of a docstring is code."""
    marked, before = [], ""
    for line in lines:
        after_a_text = marked and not marked[-1] and before and not before.startswith(" ")
        if line.startswith("    ") and after_a_text:
            marked += ["::", ""]
        before = line or before
        marked.append(line)
    lines[:] = marked


# Pages of the repository's root, and the pages here that show them.
FROM_THE_ROOT = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}


def lead_from_here(_app: Any, path: Path, _docname: str, content: list[str]) -> None:
    """Changes the links of a page of the root as the site needs them."""
    if path.name in FROM_THE_ROOT:
        repository = ABOUT["urls"]["Repository"]
        text = content[0].replace("](../../", f"]({repository}/").replace("](docs/", "](")
        text = text.replace("](LICENSE)", f"]({repository}/blob/main/LICENSE)")
        for name, page in FROM_THE_ROOT.items():
            text = text.replace(f"]({name}", f"]({page}")
        content[0] = text


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", mark_code, priority=100)
    app.connect("include-read", lead_from_here)
