#!/usr/bin/env python3
"""Stores the files of a manifest in Orthanc over its REST interface, which keeps every byte.

  load_orthanc.py http://127.0.0.1:PORT FOLDER

Writes FOLDER's objects that Orthanc took as a manifest to standard output."""

import http.client
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

url, folder = urlsplit(sys.argv[1]), Path(sys.argv[2])
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=120)
taken = []
for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
    body = (folder / entry["file"]).read_bytes()
    connection.request("POST", "/instances", body=body, headers={"Content-Type": "application/dicom"})
    answer = connection.getresponse()
    answer.read()
    if answer.status == 200:
        taken.append(entry)
    else:
        print(f"not taken: {entry['file']}: {answer.status}", file=sys.stderr)
json.dump(taken, sys.stdout, ensure_ascii=False)
