"""Has others decode frames that were encoded here, and prints what is wrong, and how many were right, as JSON.

  encoded_corpus.py FOLDER ENCODED    FOLDER: the corpus; ENCODED/encoded.json says of which file a codestream beside it is
                                      the first frame, and what its data set says then

pylibjpeg, imagecodecs and DCMTK each have to find what pydicom finds in the file: exactly, but in JPEG Baseline."""

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
# Chrominances of half the resolution, and 8 bits of them: what a pixel may differ by, and all of them on average.
LOSS = (110, 4)
PROGRAMS = {"1.2.840.10008.1.2.5": "dcmdrle", BASELINE: "dcmdjpeg", "1.2.840.10008.1.2.4.70": "dcmdjpeg", "1.2.840.10008.1.2.4.80": "dcmdjpls"}


def array_of(ds, **options):
    return get_decoder(ds.file_meta.TransferSyntaxUID).as_array(ds, index=0, as_rgb=False, **options)[0]


def by_imagecodecs(syntax, codestream):
    if syntax.endswith(".80"):
        return imagecodecs.jpegls_decode(codestream)
    if syntax == BASELINE:
        return imagecodecs.jpeg8_decode(codestream)
    return None


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


def difference(theirs, native, syntax):
    """What is wrong with what somebody decoded, or nothing."""
    distance = np.abs(theirs.astype(np.int64).reshape(native.shape) - native)
    most, mean = LOSS if syntax == BASELINE else (0, 0)
    if distance.max() > most or distance.mean() > mean:
        return f"by {distance.max()}, {distance.mean():.3f} on average"
    return None


def problems(folder, encoded, entry):
    original = pydicom.dcmread(folder / entry["file"])
    native = array_of(original).astype(np.int64)
    mask = (1 << int(original.BitsAllocated)) - 1
    codestream = (encoded / entry["codestream"]).read_bytes()
    syntax = entry["syntax"]
    ds = compressed(folder / entry["file"], entry, codestream)
    found = array_of(ds, decoding_plugin="pylibjpeg")
    colour = syntax == BASELINE and found.ndim == 3
    if colour:
        found = convert_color_space(found, "YBR_FULL", "RGB")
        if original.PhotometricInterpretation == "YBR_FULL":
            native = convert_color_space(native.astype(np.uint8), "YBR_FULL", "RGB").astype(np.int64)
    yield "pylibjpeg", difference(found, native, syntax)
    found = by_imagecodecs(syntax, codestream)
    if found is not None:
        # Without a data set nothing has a sign.
        unsigned = native & ((1 << int(original.BitsStored)) - 1) & mask if original.PixelRepresentation else native
        yield "imagecodecs", difference(found, unsigned, syntax)
    files = encoded / "compressed.dcm", encoded / "back.dcm"
    ds.save_as(files[0])
    subprocess.run([PROGRAMS[syntax], *files], check=True, capture_output=True)
    yield "DCMTK", difference(array_of(pydicom.dcmread(files[1])), native, syntax)


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
