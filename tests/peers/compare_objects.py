#!/usr/bin/env python3
"""Says whether two folders hold the same data sets, whatever their files are called.

  compare_objects.py A B [--without TAG...]

Each data set of either is read by pydicom and described by its elements and, where it is an image, its transfer syntax;
the encoding of what is native does not count. Elements named by --without do not count either. Prints the number of data
sets, and ends with 1 and the first differences where the folders differ."""

import argparse
import hashlib
import sys
import warnings
from collections import Counter
from pathlib import Path

import pydicom

MOST_SHOWN = 5


def text(element):
    """A value as any encoding of it gives it. Private elements have no VR where VRs are implicit: their bytes count."""
    if element.VR == "SQ":
        return [described(item, set()) for item in element.value]
    value = element.value
    if element.tag.is_private and not isinstance(value, bytes):
        return None
    if isinstance(value, bytes):
        return None if element.tag.is_private else hashlib.sha256(value).hexdigest()
    return str(value)


def described(data_set, without):
    return tuple((int(element.tag), str(text(element))) for element in data_set
                 if int(element.tag) not in without and element.tag.element != 0)


def read(folder, without):
    found = Counter()
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() or path.name == "manifest.json":
            continue
        data_set = pydicom.dcmread(path, force=True)
        syntax = data_set.file_meta.get("TransferSyntaxUID")
        compressed = str(syntax) if syntax is not None and syntax.is_compressed else "native"
        found[(compressed, described(data_set, without))] += 1
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--without", nargs="*", default=[], type=lambda tag: int(tag, 16))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    a, b = (read(folder, set(options.without)) for folder in (options.a, options.b))
    if a == b:
        print(a.total())
        return
    for name, only in ((options.a, a - b), (options.b, b - a)):
        print(f"{only.total()} data sets only in {name}", file=sys.stderr)
    for one, other in zip(list((a - b).elements())[:MOST_SHOWN], list((b - a).elements())[:MOST_SHOWN]):
        differing = sorted(set(one[1]) ^ set(other[1]))[:6]
        print(one[0], other[0], [(f"{tag:08X}", value[:80]) for tag, value in differing], file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
