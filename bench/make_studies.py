#!/usr/bin/env python3
"""Makes studies to search: one small object each, many names. The same arguments give the same bytes.

  make_studies.py studies OUT N
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/peers"))
from make_data import NAMES, SECONDARY_CAPTURE, Manifest, image, save  # noqa: E402 - found by the line above


def main(_kind, out, count):
    manifest = Manifest(out)
    for number in range(int(count)):
        character_set, name = NAMES[number % len(NAMES)]
        ds = image(SECONDARY_CAPTURE, f"search-{number}", rows=8, bits=8, character_set=character_set, name=name,
                   patient_id=f"Q{number:04}")
        ds.StudyDate, ds.AccessionNumber = f"2023{number % 12 + 1:02}{number % 28 + 1:02}", f"Q{number}"
        ds.PixelData, ds.ConversionType = bytes(64), "SYN"
        ds["PixelData"].VR = "OB"
        file = f"{number:04}.dcm"
        save(ds, manifest.path(file))
        manifest.add(ds, file)
    manifest.write()


if __name__ == "__main__":
    main(*sys.argv[1:])
