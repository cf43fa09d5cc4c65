#!/usr/bin/env python3
"""Stores the objects of a folder through a bridge as pydicom describes them in DICOM JSON, with bulk data beside it, and
looks at what comes back.

  describe_corpus.py DICOMWEB_URL FOLDER

Writes {file: [what is wrong]} to standard output, files being told by the names that they came with."""

import io
import json
import sys
import warnings
from pathlib import Path

import corpus
import web

# Longer values are bulk data, in characters of base64.
THRESHOLD = 400
BOUNDARY = "GantryTestBoundary"
SHORT = 120
OCTETS = "application/octet-stream"
PIXELS = ("7FE00010",)
JPEG, JLS, JP2 = "image/jpeg", "image/jls", "image/jp2"
# What each transfer syntax is sent as, with its UID.
TYPES = {"50": JPEG, "51": JPEG, "57": JPEG, "70": JPEG, "80": JLS, "81": JLS, "90": JP2, "91": JP2}


def main():
    warnings.filterwarnings("ignore")
    url, folder = sys.argv[1].rstrip("/"), Path(sys.argv[2])
    wrong = {}
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        try:
            problems = list(stored(url, folder / entry["file"], entry))
        except Exception as error:  # noqa: BLE001 - every file is to be told of
            problems = [f"{type(error).__name__}: {error}"[:400]]
        if problems:
            wrong[entry["source"]] = problems
    json.dump(wrong, sys.stdout, indent=1)


def stored(url, file, entry):
    ds, form = corpus.read(file)
    kind, body = described(ds, form)
    answer = web.ask("POST", f"{url}/studies", {"Content-Type": kind, "Accept": "application/dicom+json"}, body)
    if answer.status != 200:
        yield f"status {answer.status} {answer.headers.get('warning')} {answer.body[:SHORT]}"
    resource = f"{url}/studies/{entry['study']}/series/{entry['series']}/instances/{entry['instance']}"
    answer = web.get(resource, 'multipart/related; type="application/dicom"; transfer-syntax=*')
    if answer.status != 200:
        yield f"not to be had: {answer.status}"
        return
    ((_, content),) = answer.parts
    got, got_form = corpus.read(io.BytesIO(content))
    syntax = ds.file_meta.TransferSyntaxUID
    wanted_syntax = syntax if is_compressed(ds) else "1.2.840.10008.1.2.1"
    if got.file_meta.TransferSyntaxUID != wanted_syntax:
        yield f"in {got.file_meta.TransferSyntaxUID}"
    if "Rows" in ds and corpus.frames_of(got) != corpus.frames_of(ds):
        yield "other frames"
    if not is_compressed(ds) and PIXELS in form and ds.get("BitsAllocated", 0) > 8:
        form[PIXELS] = ("OW", form[PIXELS][1])  # words, whatever the file says (PS3.5 8.1.2)
    yield from different(form, got_form, {PIXELS} if is_compressed(ds) else set())


def different(wanted, got, apart):
    """What is different, an attribute each."""
    for path in sorted({*wanted, *got} - apart, key=str):
        name = "/".join(map(str, path))
        if path[-1] == "00080005":
            continue  # it tells of the text as it was sent, which is UTF-8
        if path not in got:
            yield f"{name}: missing; is {str(wanted[path])[:SHORT]}"
        elif path not in wanted:
            yield f"{name}: made up: {str(got[path])[:SHORT]}"
        elif wanted[path][0] == "UN" and got[path][0] != "UN":
            continue  # pydicom knows some private elements, and says so in JSON
        elif got[path] == (wanted[path][0], padded(wanted[path][1])):
            continue
        elif got[path] != wanted[path] and any(any_value(of[path][1]) for of in (got, wanted)):
            yield f"{name}: {str(got[path])[:SHORT]}; is {str(wanted[path])[:SHORT]}"


def padded(value):
    """Bytes of even length, which not all files have."""
    return value + b"\0" if isinstance(value, bytes) and len(value) % 2 else value


def any_value(value):
    return bool(value) and value not in ([""], [None])


def is_compressed(ds):
    return "PixelData" in ds and ds.file_meta.TransferSyntaxUID.is_encapsulated


def described(ds, form):
    """(Content-Type, body): one part with metadata, then one for each value, and for each frame."""
    parts = []

    def beside(element):
        uri, value = f"bulk/{len(parts)}", element.value
        if not ds.file_meta.TransferSyntaxUID.is_little_endian:
            value = corpus.swapped(value, corpus.WORDS[element.VR])
        parts.append((OCTETS, uri, value))
        return uri

    pixels = ds.get_item("PixelData")
    rest = {element.tag: element for element in ds}
    model = {}
    if pixels is not None:
        # As the file has it: pydicom takes another VR for some, which matters in big endian.
        del rest[pixels.tag]
        model["7FE00010"] = {"vr": form[PIXELS][0], "BulkDataURI": "pixels"}
        if not is_compressed(ds):
            parts.append((OCTETS, "pixels", form[PIXELS][1]))
    for tag, element in rest.items():
        if tag.element:
            model[f"{int(tag):08X}"] = element.to_json_dict(beside, THRESHOLD)
    if is_compressed(ds):
        syntax = str(ds.file_meta.TransferSyntaxUID)
        media_type = TYPES.get(syntax.removeprefix("1.2.840.10008.1.2.4."), OCTETS)
        if syntax == "1.2.840.10008.1.2.5":
            media_type = "image/dicom-rle"
        parts += [(f"{media_type}; transfer-syntax={syntax}", "pixels", frame) for frame in corpus.frames_of(ds)]
    parts.insert(0, ("application/dicom+json", "metadata", json.dumps([model]).encode()))
    body = b"".join(
        b"--%s\r\nContent-Type: %s\r\nContent-Location: %s\r\n\r\n%s\r\n"
        % (BOUNDARY.encode(), media_type.encode(), uri.encode(), content)
        for media_type, uri, content in parts
    )
    kind = f'multipart/related; type="application/dicom+json"; boundary="{BOUNDARY}"'
    return kind, body + f"--{BOUNDARY}--\r\n".encode()


if __name__ == "__main__":
    main()
