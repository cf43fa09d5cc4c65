"""Holds frames that were decoded against what others make of them; prints one row of docs/codecs.md for each file, as JSON.

  decoded_corpus.py FOLDER DECODED    FOLDER: the corpus; DECODED/decoded.json says of each file which frames are in which
                                      file beside it, or why not

pylibjpeg is asked first, through pydicom; where it fails, or lossy pixels differ by more than one grey level, libjpeg-turbo,
OpenJPEG and CharLS are, through imagecodecs: decoders of lossy JPEG differ in how they round, and in how they spread
chrominances. GDCM gives a second opinion on each file."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder

# With these a decoder has no choice: each pixel is the same, also where the encoder has lost something.
EXACT = {"1.2.840.10008.1.2.5", *(f"1.2.840.10008.1.2.4.{n}" for n in ("57", "70", "80", "81", "90", "201", "202"))}


def by_pylibjpeg(ds, number, frame):
    array, _ = get_decoder(ds.file_meta.TransferSyntaxUID).as_array(ds, index=number, as_rgb=False, decoding_plugin="pylibjpeg")
    return array


def by_imagecodecs(ds, number, frame):
    syntax = ds.file_meta.TransferSyntaxUID.removeprefix("1.2.840.10008.1.2.4.")
    if syntax in ("50", "51"):
        asis = {"colorspace": "YCBCR", "outcolorspace": "YCBCR"} if ds.SamplesPerPixel == 3 else {}
        return imagecodecs.jpeg8_decode(frame, **asis)
    if syntax in ("80", "81"):
        return imagecodecs.jpegls_decode(frame)
    return imagecodecs.jpeg2k_decode(frame)


def difference(ours, ds, number, frame, judge):
    """The greatest difference of a pixel; None where the judge has no answer."""
    try:
        theirs = judge(ds, number, frame)
    except Exception:
        return None
    if theirs.size != ours.size:
        return None
    return int(np.abs(ours.astype(np.int64) - theirs.reshape(ours.shape).astype(np.int64)).max())


def verdict(ds, entry, decoded):
    allowed = 0 if ds.file_meta.TransferSyntaxUID in EXACT else 1
    count = int(ds.get("NumberOfFrames") or 1)
    frames = list(generate_frames(ds.PixelData, number_of_frames=count))
    judges = {"pylibjpeg": by_pylibjpeg, "imagecodecs": by_imagecodecs}
    if "refused" in entry:
        takers = [name for name, judge in judges.items() if all(works(judge, ds, n, frame) for n, frame in enumerate(frames))]
        return f"refused: {entry['refused']}; " + (f"{', '.join(takers)} decodes it" if takers else "so do the others")
    kind = np.dtype(f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}")
    ours = np.fromfile(decoded / entry["frames"], kind).reshape(len(frames), -1)
    worst, judged = 0, set()
    for number, frame in enumerate(frames):
        for name, judge in judges.items():
            found = difference(ours[number], ds, number, frame, judge)
            if found is not None and found <= allowed:
                worst = max(worst, found)
                judged.add(name)
                break
        else:
            return f"WRONG in frame {number + 1}: {found}"
    result = "identical to " if worst == 0 else "within 1 of "
    return result + ", ".join(sorted(judged, reverse=True))


def second_opinion(file):
    """The samples that GDCM makes of a file; None where it makes none. Its module is for Debian's own Python."""
    script = Path(__file__).parent / "gdcm_frames.py"
    done = subprocess.run(["/usr/bin/python3", script, file], capture_output=True)
    return done.stdout if done.returncode == 0 else None


def beside(ds, entry, decoded, theirs):
    if "refused" in entry or theirs is None:
        return ""
    ours = (decoded / entry["frames"]).read_bytes()
    if len(ours) != len(theirs):
        return "; GDCM differs"
    kind = np.dtype(f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}")
    ours, theirs = np.frombuffer(ours, kind), np.frombuffer(theirs, kind)
    off = int(np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max())
    return ", GDCM" if off == 0 else "; within 1 of GDCM" if off == 1 else "; GDCM differs"


def works(judge, *arguments):
    try:
        return judge(*arguments).size > 0
    except Exception:
        return False


def main():
    folder, decoded = map(Path, sys.argv[1:])
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    rows = []
    for entry in json.loads((decoded / "decoded.json").read_text()):
        ds = pydicom.dcmread(folder / entry["file"])
        count = int(ds.get("NumberOfFrames") or 1)
        result = verdict(ds, entry, decoded) + beside(ds, entry, decoded, second_opinion(folder / entry["file"]))
        rows.append([entry["source"], ds.file_meta.TransferSyntaxUID.name, count, result])
    print(json.dumps(rows))


main()
