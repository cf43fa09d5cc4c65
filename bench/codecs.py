#!/usr/bin/env python3
"""How fast frames are decoded and encoded, beside the libraries that others use for it; prints the table of docs/codecs.md.

  .peers/venv/bin/python bench/codecs.py [--features native-codecs] [ROUNDS]

Both sides take turns in one process each, on one thread, with the same codestreams: three images of pydicom-data. What counts
is the ratio of the best processor times, which other work on the machine hardly changes; the reference is called through imagecodecs, whose own cost is nothing beside it.
The last column is of the library that decodes here, called by itself, where that is not our own code."""

import argparse
import subprocess
import tempfile
import time
import warnings
from importlib.resources import files
from pathlib import Path

import imagecodecs as ic
import numpy as np
import pydicom

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "1.2.840.10008.1.2."
IMAGES = {"MR, 1024 × 1024, 12 bits": "MR2_UNCR.dcm", "DX, 1760 × 1760, 10 bits": "RG3_UNCR.dcm", "US, 640 × 480, RGB": "US1_UNCR.dcm"}


def one_thread(function, *arguments, **options):
    return lambda: function(*arguments, **options)


def ways(image, bits, native):
    """(format, syntax, reference, codestream, the reference's decoder, its encoder where ours has one)"""
    colour = image.ndim == 3
    grey = not colour
    if image.dtype == np.uint8:
        data = ic.jpeg8_encode(image, 90)
        yield "JPEG Baseline", "4.50", "libjpeg-turbo 3.1", data, one_thread(ic.jpeg8_decode, data), one_thread(ic.jpeg8_encode, image, 90)
    elif bits == 12:
        data = ic.jpeg8_encode(image, 95, bitspersample=12)
        yield "JPEG Extended, 12 bits", "4.51", "libjpeg-turbo 3.1", data, one_thread(ic.jpeg8_decode, data), None
    if grey:
        data = ic.ljpeg_encode(image, bitspersample=bits)
        yield "JPEG Lossless", "4.70", "liblj92", data, one_thread(ic.ljpeg_decode, data), one_thread(ic.ljpeg_encode, image, bitspersample=bits)
        data = ic.jpegls_encode(image)
        yield "JPEG-LS", "4.80", "CharLS 2.4", data, one_thread(ic.jpegls_decode, data), one_thread(ic.jpegls_encode, image)
    for name, syntax, reversible in (("JPEG 2000, reversible", "4.90", True), ("JPEG 2000, irreversible", "4.91", False)):
        data = ic.jpeg2k_encode(image, 0 if reversible else 60, codecformat="j2k", reversible=reversible, mct=colour, numthreads=1)
        encode = one_thread(ic.jpeg2k_encode, image, 0, codecformat="j2k", reversible=True, mct=colour, numthreads=1) if reversible else None
        yield name, syntax, "OpenJPEG 2.5", data, one_thread(ic.jpeg2k_decode, data, numthreads=1), encode
    data = ic.htj2k_encode(image, reversible=True, rgb=colour)
    encode = one_thread(ic.htj2k_encode, image, reversible=True, rgb=colour)
    yield "HTJ2K, reversible", "4.201", "OpenJPH 0.26", data, one_thread(ic.htj2k_decode, data), encode
    if native:
        data = ic.htj2k_encode(image, reversible=False, level=0.001, rgb=colour)
        yield "HTJ2K, irreversible", "4.203", "OpenJPH 0.26", data, one_thread(ic.htj2k_decode, data), None
    data = ic.jpegxl_encode(image, lossless=True, effort=4, bitspersample=bits)
    yield "JPEG XL, lossless", "4.110", "libjxl 0.11", data, one_thread(ic.jpegxl_decode, data, numthreads=1), None
    data = ic.jpegxl_encode(image, distance=1, bitspersample=bits)
    yield "JPEG XL, lossy", "4.112", "libjxl 0.11", data, one_thread(ic.jpegxl_decode, data, numthreads=1), None


class Ours:
    def __init__(self, features):
        subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "--example", "codec_speed", *features], cwd=ROOT, check=True)
        self.process = subprocess.Popen([ROOT / "target/release/examples/codec_speed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def time(self, what, syntax, image, bits, file):
        rows, columns = image.shape[:2]
        samples = image.shape[2] if image.ndim == 3 else 1
        fields = (what, PREFIX + syntax, rows, columns, samples, image.dtype.itemsize * 8, bits, file)
        self.process.stdin.write("|".join(map(str, fields)) + "\n")
        self.process.stdin.flush()
        took = self.process.stdout.readline().strip()
        return None if took == "-" else float(took)


def timed(function):
    start = time.process_time()
    function()
    return (time.process_time() - start) * 1e3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", type=int, nargs="?", default=9)
    parser.add_argument("--features", help="of the build")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    ours = Ours(["--features", arguments.features] if arguments.features else [])
    print("| Format | Image | Ours, MB/s | Reference, MB/s | Ratio | The library alone, MB/s | Ratio |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for title, file in IMAGES.items():
            ds = pydicom.dcmread(files("data_store") / "data" / file)
            image, bits = np.ascontiguousarray(ds.pixel_array), int(ds.BitsStored)
            native, codestream = Path(folder) / "native", Path(folder) / "codestream"
            native.write_bytes(image.tobytes())
            for name, syntax, reference, data, decode, encode in ways(image, bits, arguments.features):
                codestream.write_bytes(data)
                for what, theirs, source in (("decode", decode, codestream), ("encode", encode, native)):
                    if theirs is None:
                        continue
                    turns = [lambda: ours.time(what, syntax, image, bits, source), lambda: timed(theirs)]
                    alone = lambda: ours.time("library", syntax, image, bits, source)
                    if what == "decode" and alone() is not None:
                        turns.append(alone)
                    rounds = [[turn() for turn in turns] for _ in range(arguments.rounds)]
                    speeds = [image.nbytes / 1e3 / min(times) for times in zip(*rounds)]
                    cells = [f"{speeds[0]:.0f}", f"{reference}: {speeds[1]:.0f}", f"{speeds[0] / speeds[1]:.2f}"]
                    cells += [f"{speeds[2]:.0f}", f"{speeds[0] / speeds[2]:.2f}"] if len(speeds) > 2 else ["", ""]
                    print(f"| {name}, {what}d | {title} | {' | '.join(cells)} |", flush=True)
    ours.process.stdin.close()
    ours.process.wait()


main()
