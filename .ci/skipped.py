"""Prints which tests ran in no part, and why: `python skipped.py tensorflow.xml jax.xml ...`."""

from __future__ import annotations

import collections
import re
import sys
from xml.etree import ElementTree

ran: set[str] = set()
reasons: dict[str, str] = {}
for path in sys.argv[1:]:
    for case in ElementTree.parse(path).iter("testcase"):
        # A file that is skipped whole is one case, with the name of the file and without a class.
        file, test = case.get("classname", ""), case.get("name", "")
        name = f"{file}.{test}" if file else test
        skipped = case.find("skipped")
        if skipped is None:
            ran |= {file, name}
        else:
            found = re.search(r"(?::\d+|Skipped): (.*?)('\))?$", skipped.text or "", re.DOTALL)
            reasons[name] = found[1] if found else "no reason is given"
never = {name: reason for name, reason in reasons.items() if name not in ran}
print(f"Tests that were skipped in every part: {len(never)}")
for reason, count in collections.Counter(never.values()).most_common():
    first = next(name for name, why in never.items() if why == reason)
    print(f"  {count:3}  {reason}  ({first}{', ...' if count > 1 else ''})")
