"""README and site: short, up to date, built without a warning, and whole without a network."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
import yaml
from sphinx.cmd.build import main as sphinx_build
from support.paths import ROOT

import keras_vit

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
INCLUDED = re.compile(r"```{include} (\S+)\n```")
# What a browser fetches by itself from another host. A plain link (`<a href>`) waits for a click.
FETCHED = re.compile(
    r"""<(?!a\b)\w+\b[^>]*?\b(?:src|href|srcset|data)=["']?(?:https?:)?//|url\(["']?(?:https?:)?//"""
)
LINK = re.compile(r"\]\((?!https?:|\.\./\.\./)([^)#]*)(?:#([^)]+))?\)")


def test_what_pages_repeat_of_the_code_is_up_to_date(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    stale = runpy.run_path(str(DOCS / "generate.py"))["stale"]()
    names = ", ".join(path.name for path in stale)
    assert not stale, f"{names} say something else than the code: run `make docs-tables`"


def test_the_site_is_built_without_a_warning_and_needs_no_other_host(tmp_path, monkeypatch, capsys):
    """What `make docs` does, in this process, which has imported TensorFlow already."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's of Sphinx's own code; Sphinx counts its own
        options = ["-W", "--keep-going", "--quiet", "-b", "html"]
        failed = sphinx_build([*options, str(DOCS), str(tmp_path)])
    if failed:
        captured = capsys.readouterr()
        pytest.fail(captured.out + captured.err, pytrace=False)
    pages = [path for kind in ("*.html", "*.css") for path in tmp_path.rglob(kind)]
    assert len(pages) > 40
    fetched = [
        f"{path.relative_to(tmp_path)}: {found[0]}"
        for path in pages
        if (found := FETCHED.search(path.read_text("utf-8")))
    ]
    assert not fetched
    # The search of the site knows word stems. These are words that people look for.
    found = (tmp_path / "searchindex.js").read_text("utf-8")
    assert {"gray", "grayscal", "grey", "imbal", "laptop", "pth"} <= set(re.findall(r"\w+", found))
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
    text = page.read_text("utf-8")
    if whole := INCLUDED.fullmatch(text.strip()):
        return slugs(page.parent / whole[1])
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_a_file_and_to_a_heading_in_it(page):
    missing = []
    for name, heading in LINK.findall(page.read_text("utf-8")):
        target = page.parent / name if name else page
        if not target.exists() or (heading and heading not in slugs(target)):
            missing.append(f"{name}#{heading}")
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
    files = [*PAGES, *DOCS.rglob("*.md"), *DOCS.glob("*.py"), *(ROOT / ".github").rglob("*.*")]
    files += [ROOT / name for name in ("setup.py", "CITATION.cff", "Makefile")]
    assert [file for file in files if address in file.read_text("utf-8")] == []


def test_the_version_stands_in_one_place():
    name = re.escape(keras_vit.__version__)
    says = re.compile(rf"version[\W_]{{1,8}}{name}", re.I)
    files = [ROOT / name for name in ("pyproject.toml", "CITATION.cff", "Makefile", "setup.py")]
    files += [*PAGES, *DOCS.glob("*.py"), *(ROOT / "keras_vit").rglob("*.py")]
    found = [file.name for file in files if says.search(file.read_text("utf-8"))]
    assert found == ["version.py"]


def test_contributing_says_how_long_the_tests_take_as_make_does():
    (minutes,) = re.findall(r"The tests take about (\d+) minutes", (ROOT / "Makefile").read_text())
    assert f"about {minutes} minutes" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_the_steps_of_contributing_name_files_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = set(
        re.findall(r"`((?:keras_vit|tests|docs|\.ci)/[\w/.]+|[\w.]+\.(?:md|toml|txt))`", text)
    )
    assert len(named) > 15
    gone = [name for name in sorted(named) if "NAME" not in name and not (ROOT / name).exists()]
    assert gone == []


def test_yaml_of_the_repository_and_of_the_pages_can_be_read():
    folder = ROOT / ".github"
    forms = [*folder.rglob("*.yml"), ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml"]
    read = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in forms}
    assert read["CITATION.cff"]["cff-version"] == "1.2.0"
    (compose,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "deploy.md").read_text("utf-8"), re.S)
    (service,) = yaml.safe_load(compose)["services"].values()
    assert service["volumes"] == ["./models/vit:/models/vit:ro"]
    (job,) = read["ci.yml"]["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run", "make docs"]
    for name in ("bug.yml", "idea.yml", "question.yml"):
        assert {"name", "description", "body"} <= set(read[name])


def test_the_changelog_has_the_parts_of_keep_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    parts = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= parts
    versions = re.findall(r"^## (.+)$", text, re.M)
    assert versions[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", v) for v in versions[1:])
