"""Has others decode frames that were encoded here, and prints what is wrong, and how many were right, as JSON.

  encoded_corpus.py FOLDER ENCODED    FOLDER: the corpus; ENCODED/encoded.json says of which file a codestream beside it is
                                      the first frame, and what its data set says then

pylibjpeg, imagecodecs and DCMTK, which knows no JPEG 2000, each have to find what pydicom finds in the file: exactly, but in JPEG Baseline."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space, get_decoder

BASELINE = "1.2.840.10008.1.2.4.50"
# Chrominances of half the resolution, and 8 bits of them: what pixels may differ by at most, where
# colours change from one to the next, and on average.
LOSS = (255, 4)
PROGRAMS = {"1.2.840.10008.1.2.5": "dcmdrle", BASELINE: "dcmdjpeg", "1.2.840.10008.1.2.4.70": "dcmdjpeg", "1.2.840.10008.1.2.4.80": "dcmdjpls"}


def array_of(ds, **options):
    return get_decoder(ds.file_meta.TransferSyntaxUID).as_array(ds, index=0, as_rgb=False, **options)[0]


def by_imagecodecs(syntax, codestream):
    if syntax.endswith(".80"):
        return imagecodecs.jpegls_decode(codestream)
    if syntax == BASELINE:
        return imagecodecs.jpeg8_decode(codestream)
    if syntax.endswith(".90"):
        return imagecodecs.jpeg2k_decode(codestream)
    if syntax.endswith(".201"):
        # By itself it says what is not transformed by planes.
        return imagecodecs.htj2k_decode(codestream, planar=False)
    return None


def cells(ds):
    """Of the first frame, as they stand in the file."""
    shape = (ds.Rows, ds.Columns, ds.SamplesPerPixel)
    cells = np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}")[: np.prod(shape)]
    planar = ds.SamplesPerPixel > 1 and ds.get("PlanarConfiguration")
    return (cells.reshape(shape[2], -1).T if planar else cells).reshape(shape).astype(np.int64)


def compressed(file, entry, codestream):
    ds = pydicom.dcmread(file)
    if "NumberOfFrames" in ds:
        ds.NumberOfFrames = 1
    ds.PixelData = encapsulate([codestream])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.PhotometricInterpretation = entry["photometric"]
    if ds.SamplesPerPixel > 1:
        ds.PlanarConfiguration = int(entry["planar"])
    ds.file_meta.TransferSyntaxUID = entry["syntax"]
    return ds


def difference(theirs, native, syntax, stored):
    """What is wrong with what somebody decoded, or nothing. Bits beyond those of the sample are nobody's."""
    theirs = theirs.astype(np.int64).reshape(native.shape)
    if syntax != BASELINE:
        wrong = int(np.count_nonzero((theirs ^ native) & ((1 << stored) - 1)))
        return f"{wrong} pixels" if wrong else None
    distance = np.abs(theirs - native)
    if distance.max() > LOSS[0] or distance.mean() > LOSS[1]:
        return f"by {distance.max()}, {distance.mean():.3f} on average"
    return None


def problems(folder, encoded, entry):
    original = pydicom.dcmread(folder / entry["file"])
    native, stored, syntax = cells(original), int(original.BitsStored), entry["syntax"]
    codestream = (encoded / entry["codestream"]).read_bytes()
    ds = compressed(folder / entry["file"], entry, codestream)
    found = array_of(ds, decoding_plugin="pylibjpeg")
    shown = native
    if syntax == BASELINE and found.ndim == 3:
        found = convert_color_space(found, "YBR_FULL", "RGB")
        if original.PhotometricInterpretation == "YBR_FULL":
            shown = convert_color_space(native.astype(np.uint8), "YBR_FULL", "RGB").astype(np.int64)
    yield "pylibjpeg", difference(found, shown, syntax, stored)
    found = by_imagecodecs(syntax, codestream)
    if found is not None:
        yield "imagecodecs", difference(found, shown, syntax, stored)
    program = PROGRAMS.get(syntax)
    if program is None:
        return
    files = encoded / "compressed.dcm", encoded / "back.dcm"
    ds.save_as(files[0])
    # What was not transformed when it was encoded is not to be now.
    asis = ["+cn"] if program == "dcmdjpeg" and syntax != BASELINE else []
    subprocess.run([program, *asis, *files], check=True, capture_output=True)
    found = cells(pydicom.dcmread(files[1]))
    # Where nothing is lost, each bit of a cell is the same; but DCMTK does not fill cells with the sign.
    whole = stored if original.PixelRepresentation else int(original.BitsAllocated)
    yield "DCMTK", difference(found, shown, syntax, whole)


def main():
    folder, encoded = map(Path, sys.argv[1:])
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    wrong, right = [], {}
    for entry in json.loads((encoded / "encoded.json").read_text()):
        try:
            for judge, problem in problems(folder, encoded, entry):
                if problem:
                    wrong.append(f"{entry['source']} in {entry['syntax']}: {judge}: {problem}")
                else:
                    right[entry["syntax"]] = right.get(entry["syntax"], 0) + 1
        except Exception as error:
            wrong.append(f"{entry['source']} in {entry['syntax']}: {error!r}")
    print(json.dumps({"wrong": wrong, "right": right}))


main()
