#!/usr/bin/env python3
"""Fails unless two Orthancs keep the same objects, byte for byte but for who sent them, which the File Meta Information says.

  same_in_orthanc.py http://127.0.0.1:PORT http://127.0.0.1:PORT"""

import json
import sys

import web


def kept(url):
    """{SOP Instance UID: data set bytes}"""
    objects = {}
    for identifier in json.loads(web.get(f"{url}/instances", "*/*").body):
        tags = json.loads(web.get(f"{url}/instances/{identifier}", "*/*").body)["MainDicomTags"]
        file = web.get(f"{url}/instances/{identifier}/file", "*/*").body
        assert file[128:132] == b"DICM"
        objects[tags["SOPInstanceUID"]] = file[132 + 12 + int.from_bytes(file[140:144], "little") :]
    return objects


def main():
    one, other = (kept(url) for url in sys.argv[1:3])
    assert one, "nothing is kept"
    assert one.keys() == other.keys(), f"missing {one.keys() - other.keys()}, more {other.keys() - one.keys()}"
    different = [instance for instance in one if one[instance] != other[instance]]
    assert not different, f"other bytes: {different}"
    print(f"{len(one)} objects are the same")


if __name__ == "__main__":
    main()
