"""The page of a package index: README.md, whose links lead to the repository from there too.

All other metadata is in pyproject.toml.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def with_addresses(text: str, repository: str) -> str:
    """A page of the repository, with whole addresses in place of relative links."""
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:|#)", rf"\g<1>{repository}/raw/main/", text)
    return re.sub(r"(\]\()(?!https?:|#)", rf"\g<1>{repository}/blob/main/", text)


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    setup(
        long_description=with_addresses(
            (ROOT / "README.md").read_text("utf-8"), project["urls"]["Repository"]
        ),
        long_description_content_type="text/markdown",
    )
