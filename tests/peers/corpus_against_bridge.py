#!/usr/bin/env python3
"""Holds what a bridge says of the objects of a folder against what pydicom finds in their files.

  corpus_against_bridge.py DICOMWEB_URL FOLDER ASPECT...

ASPECT: json, xml (metadata, every attribute, bulk data fetched), frames, transcoded (whole objects in other transfer
syntaxes, their pixels as pydicom and pylibjpeg read them). Writes {file: {aspect: [what is wrong]}} to
standard output, files being told by the names that they came with; what is right is not in it."""

import io
import json
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pydicom
import pydicom.pixels

import corpus
import web
from corpus import Bulk

AT_ONCE = 3
# No list of frames in one request is longer.
FRAMES_AT_ONCE = 32
MULTIPART = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
SHORT = 120
# What the web does not carry comes in Explicit VR Little Endian (PS3.18 8.7.3).
REENCODED = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.2"}
EXPLICIT_LE = "1.2.840.10008.1.2.1"
# What objects are asked for in: native, RLE, JPEG-LS, JPEG and HTJ2K, all without loss.
SYNTAXES = [EXPLICIT_LE, "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.70",
            "1.2.840.10008.1.2.4.201"]
# A lossy frame may be rounded otherwise.
ROUNDING = 1
# Their fragments are no frames, but pieces of one stream.
MPEG = {f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)}


def main():
    warnings.filterwarnings("ignore")
    url, folder, aspects = sys.argv[1].rstrip("/"), Path(sys.argv[2]), sys.argv[3:]
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for entry in entries:
        entry["read"], entry["form"] = corpus.read(folder / entry["file"])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda entry: {aspect: problems(aspect, url, entry) for aspect in aspects}, entries)
        wrong = {entry["source"]: {a: p for a, p in of.items() if p} for entry, of in zip(entries, found)}
    json.dump({source: of for source, of in wrong.items() if of}, sys.stdout, indent=1)


def problems(aspect, url, entry):
    resource = f"{url}/studies/{entry['study']}/series/{entry['series']}/instances/{entry['instance']}"
    try:
        return list({"json": in_json, "xml": in_xml, "frames": in_frames, "transcoded": in_other_syntaxes}[aspect](resource, entry))
    except Exception as error:  # noqa: BLE001 - every file is to be told of
        return [f"{type(error).__name__}: {error}"[:400]]


def in_json(resource, entry):
    answer = web.get(f"{resource}/metadata", "application/dicom+json")
    if answer.status != 200:
        yield f"status {answer.status} {answer.body[:400]}"
        return
    (model,) = json.loads(answer.body, parse_float=Decimal)
    if list(model) != sorted(model):
        yield "the tags do not ascend"
    yield from compare(corpus.of_json(model), entry)
    # That it reads without an error is what this is for.
    (model,) = json.loads(answer.body)
    parsed = pydicom.Dataset.from_json(model, lambda tag, vr, uri: b"")
    if str(parsed.get("SOPInstanceUID")) != entry["instance"]:
        yield "pydicom reads another SOP Instance UID"


def in_xml(resource, entry):
    answer = web.get(f"{resource}/metadata", 'multipart/related; type="application/dicom+xml"')
    if answer.status != 200:
        yield f"status {answer.status} {answer.body[:400]}"
        return
    ((fields, text),) = answer.parts
    if not fields["content-type"].startswith("application/dicom+xml"):
        yield f"a part of type {fields['content-type']}"
    yield from compare(corpus.of_xml(text), entry)


def compare(got, entry):
    """What is different, an attribute each."""
    wanted = entry["form"]
    for path in sorted({*wanted, *got}, key=str):
        name = "/".join(map(str, path))
        if path not in got:
            yield f"{name}: missing; is {str(wanted[path])[:SHORT]}"
        elif path not in wanted:
            yield f"{name}: made up: {str(got[path])[:SHORT]}"
        else:
            (vr, value), (wanted_vr, wanted_value) = got[path], wanted[path]
            if path[-1:] == corpus.CHARACTER_SET:
                # It tells of the text as it was sent, which is UTF-8.
                wanted_value = ["ISO_IR 192"]
            if vr != wanted_vr:
                yield f"{name}: VR {vr}; is {wanted_vr}"
            elif isinstance(value, Bulk):
                yield from (f"{name}: {problem}" for problem in of_bulk(value.uri, wanted_value, path, entry["read"]))
            elif not same(value, wanted_value):
                yield f"{name}: {vr} {str(value)[:SHORT]}; is {str(wanted_value)[:SHORT]}"


def same(value, wanted):
    """Empty is empty, whether without a value, with an empty one, or with no bytes."""
    if not any_value(value) and not any_value(wanted):
        return True
    if isinstance(value, bytes) and isinstance(wanted, bytes) and len(value) % 2:
        wanted = wanted.removesuffix(b"\0")
    return value == wanted


def any_value(value):
    return bool(value) and value not in ([""], [None])


def of_bulk(uri, wanted, path, ds):
    """The bytes behind a BulkDataURI, in each of the forms in which they can be asked for."""
    answer = web.get(uri, 'multipart/related; type="*/*"; transfer-syntax=*')
    if answer.status != 200:
        yield f"{uri}: status {answer.status} {answer.body[:400]}"
        return
    contents = [content for _, content in answer.parts]
    if path in corpus.PIXEL_DATA and ds.file_meta.TransferSyntaxUID.is_encapsulated:
        film = ds.file_meta.TransferSyntaxUID in MPEG
        yield from of_frames(contents, [b"".join(corpus.fragments_of(ds))] if film else corpus.frames_of(ds))
        return
    if len(contents) != 1 or not same(contents[0], wanted):
        yield f"{uri}: {[len(c) for c in contents]} bytes, or others; is {len(wanted)}"
    single = web.get(uri, "*/*")
    if single.status != 200 or single.body != contents[0]:
        yield f"{uri}: as a single part {single.status}, {len(single.body)} bytes, or others"


def in_other_syntaxes(resource, entry):
    ds = entry["read"]
    if "PixelData" not in ds or entry["transfer_syntax"] in MPEG:
        return
    try:
        wanted = pixels_of(ds)
    except Exception:  # noqa: BLE001 - what pydicom cannot read is not compared
        return
    lossy = "1.2.840.10008.1.2.4.50 1.2.840.10008.1.2.4.51 1.2.840.10008.1.2.4.81 1.2.840.10008.1.2.4.91".split()
    most = ROUNDING if entry["transfer_syntax"] in lossy else 0
    for syntax in SYNTAXES if wanted.nbytes < LARGE else SYNTAXES[:1]:
        answer = web.get(resource, f"application/dicom; transfer-syntax={syntax}")
        if answer.status == 406 and syntax != EXPLICIT_LE:
            continue
        if answer.status != 200:
            yield f"{syntax}: status {answer.status} {answer.body[:400]}"
            continue
        got = pydicom.dcmread(io.BytesIO(answer.body))
        named = (got.file_meta.TransferSyntaxUID, got.SOPInstanceUID)
        if named != (syntax, entry["instance"]):
            yield f"{syntax}: is {named}"
        others = {path for path in set(dict(ds.items())) ^ set(dict(got.items())) if path.element and path not in LEFT_OUT}
        if entry["transfer_syntax"] in COSINE and (got.LossyImageCompression, bool(got.LossyImageCompressionMethod)) == ("01", True):
            others -= {path for path in LOSS if path in got}
        if others:
            yield f"{syntax}: other attributes: {sorted(map(str, others))}"
        array = pixels_of(got)
        if array.shape != wanted.shape:
            yield f"{syntax}: {array.shape}; is {wanted.shape}"
        elif (far := abs(array.astype("i8") - wanted.astype("i8")).max()) > most:
            yield f"{syntax}: pixels are off by {far}"


# Of what is larger, only the native form is asked for: a debug build takes its time.
LARGE = 10 << 20
# Tables of where frames were, an icon that may have been compressed, and signatures of what was before.
LEFT_OUT = {pydicom.tag.Tag(tag) for tag in (0x7FE00001, 0x7FE00002, 0x00880200, 0x4FFE0001, 0xFFFAFFFA)}
# What loses something by itself, and what has to say so when it goes.
COSINE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
LOSS = {pydicom.tag.Tag(tag) for tag in (0x00282110, 0x00282114)}


def pixels_of(ds):
    """All pixels, colours as they are stored."""
    return pydicom.pixels.pixel_array(ds, raw=True)


def in_frames(resource, entry):
    ds = entry["read"]
    wanted = corpus.frames_of(ds)
    if wanted is None:
        answer = web.get(f"{resource}/frames/1", MULTIPART)
        if answer.status != 404:
            yield f"status {answer.status} for frames of what has none"
        return
    syntax = EXPLICIT_LE if entry["transfer_syntax"] in REENCODED else entry["transfer_syntax"]
    contents = []
    for first in range(1, len(wanted) + 1, FRAMES_AT_ONCE):
        numbers = range(first, min(first + FRAMES_AT_ONCE, len(wanted) + 1))
        answer = web.get(f"{resource}/frames/{','.join(map(str, numbers))}", MULTIPART)
        if answer.status != 200:
            yield f"status {answer.status} {answer.body[:400]}"
            return
        for fields, content in answer.parts:
            said = web.parameter(fields["content-type"], "transfer-syntax")
            # Native frames of a deflated object are the same in Explicit VR Little Endian.
            if said != syntax and not (ds.file_meta.TransferSyntaxUID.is_deflated and said == EXPLICIT_LE):
                yield f"a part of type {fields['content-type']}, stored in {syntax}"
            contents.append(content)
    yield from of_frames(contents, wanted)
    beyond = web.get(f"{resource}/frames/{len(wanted) + 1}", MULTIPART)
    if beyond.status != 404:
        yield f"status {beyond.status} for a frame beyond the last"


def of_frames(contents, wanted):
    if len(contents) != len(wanted):
        yield f"{len(contents)} frames; is {len(wanted)}"
        return
    for number, (content, frame) in enumerate(zip(contents, wanted), 1):
        # An encapsulated frame of odd length is padded in the file; the pad is no part of it.
        if content not in (frame, frame.removesuffix(b"\0")):
            yield f"frame {number}: {len(content)} bytes; is {len(frame)}, or others"


if __name__ == "__main__":
    main()
