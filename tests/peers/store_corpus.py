#!/usr/bin/env python3
"""Stores the objects of a folder through a bridge, several in a request, and looks at what the archive has then.

  store_corpus.py DICOMWEB_URL ARCHIVE FOLDER OUT

ARCHIVE is HOST:PORT:TITLE; what it gives of the objects goes to OUT. Writes {file: what is wrong} to standard output, for
files that are not told to be stored, or are not in the archive byte for byte."""

import json
import sys
from pathlib import Path

import web
from reference_get import retrieve

AT_ONCE = 20
FAILED, STORED = "00081198", "00081199"
DEFLATED = "1.2.840.10008.1.2.1.99"
INSTANCE, REASON = "00081155", "00081197"


def data_set(file):
    return file[132 + 12 + int.from_bytes(file[140:144], "little") :]


def main():
    url, archive, folder, out = sys.argv[1].rstrip("/"), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    wrong, told = {}, set()
    for first in range(0, len(entries), AT_ONCE):
        some = entries[first : first + AT_ONCE]
        kind, body = web.join("application/dicom", [(folder / entry["file"]).read_bytes() for entry in some])
        answer = web.ask("POST", f"{url}/studies", {"Content-Type": kind, "Accept": "application/dicom+json"}, body)
        fate = json.loads(answer.body) if answer.kind.startswith("application/dicom+json") else {}
        told |= {item[INSTANCE]["Value"][0] for item in fate.get(STORED, {}).get("Value", [])}
        reasons = {item[INSTANCE]["Value"][0]: item for item in fate.get(FAILED, {}).get("Value", []) if INSTANCE in item}
        for entry in some:
            if entry["instance"] not in told:
                why = reasons.get(entry["instance"], {}).get(REASON, answer.body[:300].decode(errors="replace"))
                wrong[entry["source"]] = f"not stored: {answer.status} {why}"
    kept = retrieve("get", archive, entries, out)["objects"]
    for entry in entries:
        instance = entry["instance"]
        if (instance in told) != (instance in kept):
            wrong[entry["source"]] = f"told to be stored: {instance in told}; is: {instance in kept}"
        elif instance in kept:
            stored = data_set((folder / entry["file"]).read_bytes())
            if entry["transfer_syntax"] == DEFLATED and len(stored) % 2:
                stored += b"\0"  # what travels is of even length (PS3.5 A.5)
            same = stored == (out / instance).read_bytes()
            if not same or kept[instance]["transfer_syntax"] != entry["transfer_syntax"]:
                wrong[entry["source"]] = f"other bytes, or in {kept[instance]['transfer_syntax']}"
    json.dump(wrong, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
