#!/usr/bin/env python3
"""What it costs to have a compressed study decompressed: prints the table of docs/codecs.md.

  cargo build --release && .peers/venv/bin/python bench/transcoding.py [ROUNDS [GANTRY]]

100 CT slices of 512 × 512, stored as JPEG-LS and as JPEG 2000, are asked for as they are stored, in Explicit VR Little Endian
and in RLE, out of the bridge's cache. Beside it, by turns: DCMTK's program with the files one by one, and the library that
others use with the codestreams alone. Processor time of the bridge or of the programs, of which other work on the machine
changes little; the client is not counted."""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.resources import files
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import encapsulate

from account import Group
from client import Http
from fleet import ROOT, Archive, Bridge, free_port

SLICES = 100
EXPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"


def slices(folder, syntax, study):
    """One slice that is real, moved by a row each time, as a study in this transfer syntax; the codestreams."""
    ds = pydicom.dcmread(files("data_store") / "data" / "693_J2KR.dcm")
    image, entries, codestreams = np.ascontiguousarray(ds.pixel_array), [], []
    # What is stored in two's complement is the same bits to a codec that knows none.
    for number in range(1, SLICES + 1):
        pixels = np.roll(image, number, 0)
        if syntax == JPEG_LS:
            codestream = imagecodecs.jpegls_encode(pixels.view(np.uint16))
        else:
            codestream = imagecodecs.jpeg2k_encode(pixels, 0, codecformat="j2k", reversible=True, numthreads=1)
        codestreams.append(codestream)
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = f"2.25.{study}", f"2.25.{study}.1", f"2.25.{study}.1.{number}"
        ds.InstanceNumber, ds.file_meta.MediaStorageSOPInstanceUID = number, ds.SOPInstanceUID
        ds.file_meta.TransferSyntaxUID, ds.PixelData = syntax, encapsulate([codestream])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        name = f"{number:03}.dcm"
        ds.save_as(folder / name, enforce_file_format=True)
        entries.append({"file": name, "study": ds.StudyInstanceUID, "series": ds.SeriesInstanceUID, "instance": ds.SOPInstanceUID})
    (folder / "manifest.json").write_text(json.dumps(entries))
    return codestreams


def processor_of(pid):
    group = Group()
    group.of(pid)
    spent = group.cpu()
    group.close()
    return spent


def served(address, path, syntax, pid, least):
    """The processor seconds that a server takes for a study in this transfer syntax."""
    http, begun = Http(address), processor_of(pid)
    size = http.get(path, f'multipart/related; type="application/dicom"; transfer-syntax={syntax}').size
    http.close()
    # What is freed afterwards belongs to it.
    time.sleep(0.2)
    if size < least:
        raise SystemExit(f"{path} as {syntax}: {size} bytes, of at least {least}")
    return processor_of(pid) - begun


def ran(commands):
    """The processor seconds of these programs."""
    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    begun = spent()
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    return spent() - begun


def by_library(codestreams, decode):
    begun = time.process_time()
    for codestream in codestreams:
        decode(codestream)
    return time.process_time() - begun


def main():
    warnings.filterwarnings("ignore")
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    gantry = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "target/release/gantry").resolve()
    native = SLICES * 512 * 512 * 2
    print("| Stored as | Asked for as | Gantry, s | Beside it, s | | MB/s of pixels |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, stored) in enumerate((("JPEG-LS", JPEG_LS), ("JPEG 2000", JPEG_2000)), 1):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            codestreams = slices(folder, stored, number)
            size = sum(map(len, codestreams))
            ports = {"GANTRY": free_port()}
            pacs = Archive("pacs", [folder], ports, gantry)
            bridge = Bridge(gantry, pacs, ("GANTRY", ports["GANTRY"]))
            path = f"/dicom-web/studies/2.25.{number}"
            programs = [["/usr/bin/dcmdjpls", folder / f"{n:03}.dcm", Path(scratch) / "out.dcm"] for n in range(1, SLICES + 1)]
            if stored == JPEG_LS:
                library, decode = "CharLS", imagecodecs.jpegls_decode
            else:
                library, decode = "OpenJPEG", lambda data: imagecodecs.jpeg2k_decode(data, numthreads=1)
            works = {
                ("Gantry", "as stored"): lambda: served(bridge.address, path, "*", bridge.process.pid, size),
                ("Gantry", "native"): lambda: served(bridge.address, path, EXPLICIT, bridge.process.pid, native),
                ("Gantry", "RLE"): lambda: served(bridge.address, path, RLE, bridge.process.pid, size),
                (library, "native"): lambda: by_library(codestreams, decode),
            }
            if stored == JPEG_LS:
                works["dcmdjpls, a process each", "native"] = lambda: ran(programs)
            times = {key: [] for key in works}
            served(bridge.address, path, "*", bridge.process.pid, size)  # into the cache
            for _ in range(rounds):
                for key, work in works.items():
                    times[key].append(work())
            medians = {key: statistics.median(spent) for key, spent in times.items()}
            for what in ("as stored", "native", "RLE"):
                ours = medians["Gantry", what]
                others = [(who, value) for (who, form), value in medians.items() if form == what and who != "Gantry"]
                for who, value in others or [("", None)]:
                    beside = f"{who}: {value:.2f} | {ours / value:.2f}" if value else " | "
                    speed = "" if what == "as stored" else f"{native / 1e6 / ours:.0f}"
                    print(f"| {name}, {size / 1e6:.0f} MB | {what} | {ours:.2f} | {beside} | {speed} |", flush=True)
            bridge.stop()
            pacs.stop()


main()
