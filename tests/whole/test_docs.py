"""README and site: short, up to date, built without a warning, and whole without a network."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.paths import ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
# What a browser fetches by itself from another host. A plain link (`<a href>`) waits for a click.
FETCHED = re.compile(
    r"""<(?!a\b)\w+\b[^>]*?\b(?:src|href|srcset|data)=["']?(?:https?:)?//|url\(["']?(?:https?:)?//"""
)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)#([^)]+)\)")


def test_what_pages_repeat_of_the_code_is_up_to_date(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    stale = runpy.run_path(str(DOCS / "generate.py"))["stale"]()
    names = ", ".join(path.name for path in stale)
    assert not stale, f"{names} say something else than the code: run `make docs-tables`"


def test_the_site_is_built_without_a_warning_and_needs_no_other_host(tmp_path):
    """What `make docs` does. It takes 17 s, of which TensorFlow's import is 6."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet", "-b", "html"]
    done = subprocess.run(
        [*command, DOCS, tmp_path], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
    pages = [path for kind in ("*.html", "*.css") for path in tmp_path.rglob(kind)]
    assert len(pages) > 40
    fetched = [
        f"{path.relative_to(tmp_path)}: {found[0]}"
        for path in pages
        if (found := FETCHED.search(path.read_text("utf-8")))
    ]
    assert not fetched
    for name in ("keras_vit.ViT_B16", "keras_vit.data.from_folder"):
        page = tmp_path / "api" / f"{name.rpartition('.')[0]}.html"
        assert f'id="{name}"' in page.read_text("utf-8")


def test_what_a_browser_fetches_by_itself_is_noticed():
    assert FETCHED.search('<script async="" src="https://a.example/b.js">')
    assert FETCHED.search('<link rel="stylesheet" href="//a.example/b.css">')
    assert FETCHED.search("a { background: url(https://a.example/b.png) }")
    assert not FETCHED.search('<a class="x" href="https://a.example/">a</a><img src="b.png">')


def test_the_readme_is_short():
    assert len(README.read_text("utf-8").splitlines()) <= 200


def slugs(page: Path) -> set[str]:
    """What `#` may be followed by in a link to a page, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [README, *sorted(DOCS.glob("*.md"))], ids=lambda page: page.stem)
def test_links_into_a_page_lead_to_a_heading(page):
    links = LINK.findall(page.read_text("utf-8"))
    missing = [
        f"{name}#{heading}"
        for name, heading in links
        if heading not in slugs(page.parent / name if name else page)
    ]
    assert not missing


def test_a_package_index_shows_the_readme_with_whole_addresses():
    address = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    repository = address["Repository"]
    shown = runpy.run_path(str(ROOT / "setup.py"))["with_addresses"](
        README.read_text("utf-8"), repository
    )
    assert f"]({repository}/raw/main/docs/digits.png)" in shown
    assert f"]({repository}/blob/main/docs/getting_started.md#install)" in shown
    assert not re.findall(r"\]\((?!https://|#)", shown)


def test_the_address_of_the_project_stands_in_one_place():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (address,) = tomllib.loads(text)["project"]["urls"].values()
    assert text.count(address) == 1
    pages = [README, *DOCS.rglob("*.md"), *DOCS.glob("*.py"), ROOT / "setup.py"]
    assert [page for page in pages if address in page.read_text("utf-8")] == []
