#!/usr/bin/env python3
"""Compares the matches of two C-FINDs, as findscu -X leaves them, whatever their order.

  same_matches.py DIRECT THROUGH TITLE

Retrieve AE Title is TITLE in those of THROUGH that have it in DIRECT; all else is the same, values and character sets.
Prints how many matches there are.
"""

import sys
from collections import Counter
from pathlib import Path

import pydicom


def plain(ds):
    """The data set as something that can be compared and counted."""
    return tuple((int(e.tag), e.VR, tuple(map(plain, e.value)) if e.VR == "SQ" else repr(e.value)) for e in ds)


def matches(folder, title=None):
    found = Counter()
    for file in sorted(Path(folder).glob("*.dcm")):
        ds = pydicom.dcmread(file, force=True)
        if title and ds.get("RetrieveAETitle"):
            assert ds.RetrieveAETitle != title, f"{file}: {title} should not be known here"
            ds.RetrieveAETitle = title
        found[plain(ds)] += 1
    return found


def main():
    direct, through = matches(sys.argv[1], sys.argv[3]), matches(sys.argv[2])
    missing, more = direct - through, through - direct
    if missing or more:
        sys.exit(f"missing: {list(missing)}\nnot there directly: {list(more)}")
    print(sum(direct.values()))


main()
