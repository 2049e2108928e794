"""Where things are: the repository, its fixtures, and the folder beside it."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
TABLES = GOLDEN / "tables"
# Real weights and photos, which are not part of the repository.
SHARED = ROOT.parent / "shared"
