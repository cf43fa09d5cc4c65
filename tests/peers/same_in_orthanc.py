#!/usr/bin/env python3
"""Fails unless an Orthanc keeps the objects of a folder byte for byte, the File Meta Information aside.

  same_in_orthanc.py FOLDER http://127.0.0.1:PORT http://127.0.0.1:PORT

The second Orthanc got them from DCMTK's dcmsend: Orthanc writes the lengths of some sequences anew, and so does dcmsend, so
that what is not as in the file is to be as it is there."""

import json
import sys
from pathlib import Path

import web


def data_set(file):
    return file[132 + 12 + int.from_bytes(file[140:144], "little") :]


def kept(url):
    """{SOP Instance UID: data set bytes}"""
    objects = {}
    for identifier in json.loads(web.get(f"{url}/instances", "*/*").body):
        tags = json.loads(web.get(f"{url}/instances/{identifier}", "*/*").body)["MainDicomTags"]
        objects[tags["SOPInstanceUID"]] = data_set(web.get(f"{url}/instances/{identifier}/file", "*/*").body)
    return objects


def main():
    folder, objects, sent = Path(sys.argv[1]), kept(sys.argv[2]), kept(sys.argv[3])
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    wanted = {entry["instance"]: data_set((folder / entry["file"]).read_bytes()) for entry in entries}
    assert objects.keys() == wanted.keys() == sent.keys(), f"{len(objects)} and {len(sent)} of {len(wanted)}"
    different = [i for i in wanted if objects[i] not in (wanted[i], sent[i])]
    assert not different, f"other bytes: {different}"
    print(f"{sum(objects[i] == wanted[i] for i in wanted)} of {len(wanted)} as in the file")


if __name__ == "__main__":
    main()
