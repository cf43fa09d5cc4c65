#!/usr/bin/env python3
"""Retrieves a study from an archive over DIMSE without changing a bit: the reference for what a bridge hands on.

  reference_get.py get  HOST:PORT:TITLE MANIFEST OUT [STUDY...]
  reference_get.py move HOST:PORT:TITLE MANIFEST OUT --own TITLE:PORT [STUDY...]

Each object's data set goes to OUT/<SOP Instance UID>, as it came; OUT/retrieved.json says its transfer syntax, and each
study's final status and counters. All studies of the manifest, if none is named."""

import argparse
import json
from pathlib import Path

import rawdimse
from rawdimse import EXPLICIT_LE, IMPLICIT_LE, STUDY_ROOT_GET, STUDY_ROOT_MOVE


def contexts(objects):
    """One context for each class and transfer syntax that a study holds, and the native ones of every class."""
    pairs = {(entry["sop_class"], entry["transfer_syntax"]) for entry in objects}
    for sop_class in {entry["sop_class"] for entry in objects}:
        pairs |= {(sop_class, EXPLICIT_LE), (sop_class, IMPLICIT_LE)}
    return [(sop_class, [syntax]) for sop_class, syntax in sorted(pairs)]


class Collector:
    """Keeps objects as they came."""

    def __init__(self, out):
        self.out = Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.objects = {}

    def take(self, request, syntax, fragments):
        instance = request["sop_instance"]
        with open(self.out / instance, "wb") as file:
            file.writelines(fragments)
        self.objects[instance] = {"transfer_syntax": syntax, "sop_class": request["sop_class"]}


def retrieve(by, archive, manifest, out, own=None, studies=()):
    """What the archive gave: {"objects": {instance: …}, "studies": {study: final command}}."""
    host, port, title = archive.split(":")
    collector = Collector(out)
    finals = {}
    scp = None
    if by == "move":
        own_title, own_port = own.split(":")
        scp = rawdimse.StorageSCP(int(own_port), collector.take)
    for study in sorted(set(studies) or {entry["study"] for entry in manifest}):
        keys = {0x00080052: "STUDY", 0x0020000D: study}
        if by == "get":
            offered = contexts([entry for entry in manifest if entry["study"] == study])
            association = rawdimse.Association(host, int(port), title, [(STUDY_ROOT_GET, [IMPLICIT_LE]), *offered],
                                               roles=sorted({sop_class for sop_class, _ in offered}))
            finals[study] = association.get(keys, collector.take)
        else:
            association = rawdimse.Association(host, int(port), title, [(STUDY_ROOT_MOVE, [IMPLICIT_LE])])
            finals[study] = association.move(keys, own_title)
        association.release()
    if scp:
        scp.close()
        if scp.error:
            raise scp.error
    result = {"objects": collector.objects, "studies": finals}
    (collector.out / "retrieved.json").write_text(json.dumps(result, indent=1))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("by", choices=["get", "move"])
    parser.add_argument("archive")
    parser.add_argument("manifest")
    parser.add_argument("out")
    parser.add_argument("studies", nargs="*")
    parser.add_argument("--own", help="the title and port that the archive moves to")
    arguments = parser.parse_args()
    manifest = json.loads(Path(arguments.manifest).read_text(encoding="utf-8"))
    result = retrieve(arguments.by, arguments.archive, manifest, arguments.out, arguments.own, arguments.studies)
    print(f"{len(result['objects'])} objects of {len(result['studies'])} studies")


if __name__ == "__main__":
    main()
