#!/usr/bin/env python3
"""Holds every object that comes out of a bridge's WADO-RS against what the archive gave the reference client.

  wado_against_reference.py DICOMWEB_URL REFERENCE_FOLDER MANIFEST

REFERENCE_FOLDER is what reference_get.py wrote. Fails, with a line for each difference, unless of every study and
series and instance: the status and the number of objects are right; the data set is the reference's, byte for byte,
or, where the web does not allow its transfer syntax, attribute by attribute."""

import http.client
import io
import json
import struct
import sys
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import pydicom
from pydicom.uid import UID

IMPLICIT_LE, EXPLICIT_BE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
NOT_ON_THE_WEB = {IMPLICIT_LE, EXPLICIT_BE}
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
BROKEN = "broken"
WORD = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

problems = []
counts = {"byte-identical": 0, "equal by attribute": 0}


def fetch(url):
    """(status, {SOP Instance UID: (transfer syntax, data set bytes)}); the status is BROKEN where the body broke off."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": ACCEPT}), timeout=300) as answer:
            status, kind, body = answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {}
    except (http.client.HTTPException, OSError):
        return BROKEN, {}
    boundary = next(p.split("=", 1)[1].strip(' "') for p in kind.split(";") if p.strip().startswith("boundary="))
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if parts[0].strip() or parts[-1].strip() != b"--":
        problems.append(f"{url}: not a complete multipart body")
    objects = {}
    for part in parts[1:-1]:
        headers, file = part.split(b"\r\n\r\n", 1)
        if b"application/dicom" not in headers or file[128:132] != b"DICM":
            problems.append(f"{url}: a part that is no Part 10 file: {headers!r}")
            continue
        start = 132 + 12 + struct.unpack_from("<I", file, 140)[0]
        meta = pydicom.dcmread(io.BytesIO(file[:start])).file_meta
        instance = str(meta.MediaStorageSOPInstanceUID)
        if instance in objects:
            problems.append(f"{url}: {instance} came twice")
        objects[instance] = (str(meta.TransferSyntaxUID), file[start:])
    return status, objects


def elements(data, syntax):
    """[(path, VR, value bytes or text)] of a data set, sequences walked."""
    uid = UID(syntax)
    ds = pydicom.filereader.read_dataset(io.BytesIO(data), uid.is_implicit_VR, uid.is_little_endian)
    found, left = [], [((), ds)]
    while left:
        path, ds = left.pop()
        for element in ds:
            here = (*path, int(element.tag))
            if element.tag.element == 0:
                continue  # group lengths belong to the encoding
            if element.VR == "SQ":
                found.append((here, len(element.value)))
                left.extend(((*here, number), item) for number, item in enumerate(element.value))
            elif isinstance(element.value, bytes):
                value = element.value
                if syntax == EXPLICIT_BE:
                    # Pixels of 32 bits are swapped as such, as pydicom reads them.
                    is_pixels = element.tag == 0x7FE00010 and element.VR == "OW"
                    size = max(ds.BitsAllocated // 8, 2) if is_pixels else WORD.get(element.VR, 1)
                    value = b"".join(value[at : at + size][::-1] for at in range(0, len(value), size))
                found.append((here, value.rstrip(b"\0")))
            else:
                found.append((here, str(element.value)))
    return sorted(found)


def compare(where, got, reference):
    """Both are (transfer syntax, bytes)."""
    syntax, data = got
    wanted_syntax, wanted = reference
    if syntax in NOT_ON_THE_WEB:
        problems.append(f"{where}: came in {syntax}, which the web does not allow")
    elif wanted_syntax not in NOT_ON_THE_WEB:
        if syntax != wanted_syntax:
            problems.append(f"{where}: came in {syntax}, is stored in {wanted_syntax}")
        elif data != wanted:
            at = next((n for n, (a, b) in enumerate(zip(data, wanted)) if a != b), min(len(data), len(wanted)))
            problems.append(f"{where}: differs from byte {at} on ({len(data)} bytes, reference {len(wanted)})")
        else:
            counts["byte-identical"] += 1
    else:
        ours, theirs = elements(data, syntax), elements(wanted, wanted_syntax)
        if ours != theirs:
            different = [entry for entry in ours if entry not in theirs] + [e for e in theirs if e not in ours]
            problems.append(f"{where}: attributes differ: {str(different[:4])[:400]}")
        else:
            counts["equal by attribute"] += 1


def main():
    warnings.filterwarnings("ignore")
    url, folder = sys.argv[1].rstrip("/"), Path(sys.argv[2])
    manifest = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))
    retrieved = json.loads((folder / "retrieved.json").read_text())
    entries = {entry["instance"]: entry for entry in manifest}

    for study, final in retrieved["studies"].items():
        expected = {i for i in retrieved["objects"] if entries.get(i, {}).get("study") == study}
        partial = final.get("failed", 0) > 0
        status, objects = fetch(f"{url}/studies/{study}")
        if not expected:
            if status == BROKEN or status < 400:
                problems.append(f"study {study}: {status}, but the archive gives none of it")
            continue
        if partial and status == BROKEN:
            # That some of it cannot come was learnt on the way. Now it is known, and said before the body.
            status, objects = fetch(f"{url}/studies/{study}")
        if status != (206 if partial else 200):
            problems.append(f"study {study}: status {status}, reference {final}")
        if objects.keys() != expected:
            problems.append(f"study {study}: {len(objects)} objects, the reference has {len(expected)}: "
                            f"missing {sorted(expected - objects.keys())}, foreign {sorted(objects.keys() - expected)}")
        for instance in objects.keys() & expected:
            reference = retrieved["objects"][instance]["transfer_syntax"], (folder / instance).read_bytes()
            compare(f"study {study}, instance {instance}", objects[instance], reference)

        # Its own level for each resource, and the same bytes.
        for series in {entries[i]["series"] for i in expected}:
            status, of_series = fetch(f"{url}/studies/{study}/series/{series}")
            wanted = {i: objects.get(i) for i in expected if entries[i]["series"] == series}
            if not partial and (status, of_series) != (200, wanted):
                problems.append(f"series {series}: status {status}, {len(of_series)} of {len(wanted)} objects, or other bytes")
        instance = min(expected)
        status, single = fetch(f"{url}/studies/{study}/series/{entries[instance]['series']}/instances/{instance}")
        if (status, single) != (200, {instance: objects.get(instance)}):
            problems.append(f"instance {instance}: status {status}, {len(single)} objects, or other bytes")

    print(json.dumps(counts))
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
