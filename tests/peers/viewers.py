#!/usr/bin/env python3
"""Replays what viewers ask for, request by request, and checks that each answer is what the viewer can use.

  viewers.py DICOMWEB_URL FOLDER ORIGIN [SECTION...]

FOLDER is what `make_data.py viewers` made, and what the archive behind the bridge holds; ORIGIN is one whose pages may use
the bridge; SECTION one of the functions that make the table, all of them if none is named. The requests are those that OHIF 3.11 and 3.13.2, dwv 0.36.4, dicomweb-client 0.11.3 (JavaScript) and 0.61.2
(Python) send, with every header field that matters. What the bridge does not do yet is in the table, with the status that
says so. Prints how many requests were made; fails with a line for each that is not as it should be."""

import io
import json
import sys
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

import imagecodecs

import corpus
import web
from corpus_against_bridge import compare

JSON = "application/dicom+json"
MULTIPART_DICOM = 'multipart/related; type="application/dicom"'
# OHIF and the clients that its parts are made of.
UNQUOTED = "multipart/related; type=application/octet-stream; transfer-syntax=*"
QUOTED = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'
EXPLICIT_QUOTED = 'multipart/related; type="application/octet-stream"; transfer-syntax="1.2.840.10008.1.2.1"'
JPEG2000_UNQUOTED = "multipart/related; type=image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"
JPEGLS_FIRST = "multipart/related; type=image/jls; q=1,multipart/related; type=application/octet-stream; q=0.1"
OHIF_3_11 = f"{JSON}, multipart/related; type=application/octet-stream; transfer-syntax=*"
BULK = 'multipart/related; type="application/octet-stream"'
PDF = 'multipart/related; type="application/pdf", multipart/related; type="application/octet-stream"'
MICROSCOPY = ", ".join(
    f'multipart/related; type="{kind}"; transfer-syntax={syntax}'
    for kind, syntax in [
        ("image/jls", "1.2.840.10008.1.2.4.80"), ("image/jls", "1.2.840.10008.1.2.4.81"),
        ("image/jp2", "1.2.840.10008.1.2.4.90"), ("image/jp2", "1.2.840.10008.1.2.4.91"),
        ("image/jpx", "1.2.840.10008.1.2.4.92"), ("image/jpx", "1.2.840.10008.1.2.4.93"),
        ("application/octet-stream", "*"), ("image/jpeg", "1.2.840.10008.1.2.4.50"),
    ]
)
BROWSER_PAGE = ("text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,image/webp,image/apng,"
                "*/*;q=0.8,application/signed-exchange;v=b3;q=0.7")
BROWSER_IMAGE = "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
PYTHON_JSON = "application/dicom+json, application/json"
PYTHON_ANY = 'multipart/related; type="*/*"'

EXPLICIT_LE = "1.2.840.10008.1.2.1"
# A value of Accept that a page may send without asking first is no longer than this, and has no quotes (Fetch, CORS).
MAX_SAFELISTED = 128
# Browsers have so many HTTP/1.1 connections to a server.
AT_ONCE = 6


@dataclass
class Request:
    """One line of the table. `check` gets the answer and tells what is wrong with it."""

    name: str
    path: str
    accept: str
    status: int = 200
    kind: str = ""
    check: object = lambda answer: ()
    method: str = "GET"
    headers: dict = field(default_factory=dict)
    body: bytes = None


class Archive:
    """What the archive behind the bridge at `url` holds."""

    def __init__(self, folder, url):
        self.url = url
        self.entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for entry in self.entries:
            entry["read"], entry["form"] = corpus.read(folder / entry["file"])
            entry["bytes"] = (folder / entry["file"]).read_bytes()
            entry["path"] = f"/studies/{entry['study']}/series/{entry['series']}/instances/{entry['instance']}"
        self.ct = [entry for entry in self.entries if entry["role"] == "ct"]

    def __getitem__(self, role):
        (entry,) = [entry for entry in self.entries if entry["role"] == role]
        return entry


def searches(archive):
    ct, others = archive.ct[0], archive["palette"]
    study, series = f"/studies/{ct['study']}", f"/studies/{ct['study']}/series/{ct['series']}"
    both = {ct["study"], others["study"]}
    every_series = {entry["series"] for entry in archive.entries}
    of_others = {entry["series"] for entry in archive.entries if entry["study"] == others["study"]}
    listed = "limit=101&offset=0&fuzzymatching={}&includefield=00081030%2C00080060%2C00080090%2C00100030"
    today = date.today().strftime("%Y%m%d")

    def found(level, uids, *attributes):
        return lambda answer: is_found(answer, level, uids, attributes)

    def row(name, path, accept, level, uids, *attributes):
        return Request(name, path, accept, 200 if uids else 204, JSON if uids else "", found(level, uids, *attributes))

    def list_row(name, query, uids, fuzzy="true"):
        return row(f"OHIF study list {name}", f"/studies?{listed.format(fuzzy)}{query}", JSON, "study", uids,
                   "00081030", "00100010", "00100020", "00100030", "00080061", "00201206", "00201208", "00081190")

    yield list_row("all", "", both)
    yield list_row("by name", "&PatientName=*VIEWER*", {ct["study"]})
    yield list_row("by a name with an umlaut", "&PatientName=*J%C3%BCrgen*", {others["study"]})
    yield list_row("by a name that nobody has", "&PatientName=*NOBODY*", set())
    yield list_row("by MRN", "&00100020=*V1*", {ct["study"]})
    yield list_row("by accession number", "&AccessionNumber=*A-OTHER*", {others["study"]})
    yield list_row("by description", "&StudyDescription=*CT%20THO*", {ct["study"]})
    yield list_row("by modalities", "&ModalitiesInStudy=CT%2CMR", both)
    yield list_row("by one modality", "&ModalitiesInStudy=DOC", {others["study"]})
    yield list_row("by dates", "&StudyDate=20240101-20241231", both)
    yield list_row("by dates of another year", "&StudyDate=20230101-20231231", set())
    yield list_row("with an open start", f"&StudyDate=19700102-{today}", both)
    yield list_row("without fuzzy matching or wildcards", "&PatientName=VIEWER%5ECT", {ct["study"]}, "false")
    yield list_row("of a study opened", f"&StudyInstanceUID={ct['study']}", {ct["study"]})
    yield list_row("of a patient's priors", "&00100020=V2", {others["study"]})

    def series_row(name, path, uids, *attributes, accept=JSON):
        attributes = ("00080060", "0020000E", "00201209", "00081190", *attributes)
        return row(name, path, accept, "series", uids, *attributes)

    yield series_row("OHIF row selected", f"{study}/series?includefield=0008103E%2C00080021", {ct["series"]}, "0008103E",
                     "00080021")
    wanted = "series?includefield=00080021%2C00080031%2C0008103E%2C00200011"
    for version, accept in (("3.13", JSON), ("3.11", OHIF_3_11)):
        yield series_row(f"OHIF {version} series of a study", f"/studies/{others['study']}/{wanted}", of_others, "0008103E",
                         accept=accept)
    yield series_row("OHIF series filter of the URL", f"{study}/{wanted}&SeriesInstanceUID={ct['series']}", {ct["series"]},
                     "00200011")

    yield series_row("dwv series", f"/series?StudyInstanceUID={ct['study']}", {ct["series"]})
    yield row("dwv instances", f"{series}/instances?", JSON, "instance", {e["instance"] for e in archive.ct}, "00080016",
              "00200013", "00081190")
    yield series_row("JavaScript series", "/series?Modality=CT&limit=5", {ct["series"]})
    some = {entry["instance"] for entry in archive.entries}
    yield Request("JavaScript instances", "/instances?limit=5", JSON, 200, JSON, lambda a: is_some(a, "instance", some, 5))
    yield Request("JavaScript instances of a study", f"/studies/{others['study']}/instances?limit=5", JSON, 200, JSON,
                  lambda a: is_some(a, "instance", some, 5))
    yield row("Python studies", "/studies?PatientID=V%2A&fuzzymatching=true&includefield=StudyDescription&limit=3",
              PYTHON_JSON, "study", both, "00081030")
    yield series_row("Python series", "/series", every_series, accept=PYTHON_JSON)


def metadata(archive):
    ct, others = archive.ct[0], [e for e in archive.entries if e["study"] == archive["palette"]["study"]]

    def row(name, path, accept, entries):
        return Request(name, f"{path}/metadata", accept, 200, JSON, lambda answer: is_metadata(answer, entries))

    for version, accept in (("3.13", JSON), ("3.11", OHIF_3_11)):
        for entry in [ct, *others]:
            path = f"/studies/{entry['study']}/series/{entry['series']}"
            entries = archive.ct if entry is ct else [entry]
            yield row(f"OHIF {version} metadata of series {entry['role']}", path, accept, entries)
        yield row(f"OHIF {version} metadata of a study", f"/studies/{ct['study']}", accept, archive.ct)
    for client, accept in (("JavaScript", JSON), ("Python", PYTHON_JSON)):
        yield row(f"{client} metadata of a study", f"/studies/{others[0]['study']}", accept, others)
        yield row(f"{client} metadata of a series", ct["path"].rpartition("/instances")[0], accept, archive.ct)
        yield row(f"{client} metadata of an instance", ct["path"], accept, [ct])


def frames(archive):
    def row(name, role, accept, kind, syntax, numbers=(1,), **more):
        entry = archive.ct[2] if role == "ct" else archive[role]
        wanted = corpus.frames_of(entry["read"])
        path = f"{entry['path']}/frames/{'%2C'.join(map(str, numbers))}"
        wanted = [wanted[n - 1] for n in numbers]
        return Request(f"{name}, {role}", path, accept, 200, "multipart/related",
                       lambda answer: is_frames(answer, wanted, kind, syntax), **more)

    octets, jp2, jls, rle = "application/octet-stream", "image/jp2", "image/jls", "image/dicom-rle"
    jpeg2000, jpegls = archive["jpeg2000"]["transfer_syntax"], archive["jpegls"]["transfer_syntax"]
    for role in ("ct", "jpeg2000", "jpegls", "rle", "segmentation", "palette"):
        entry = archive.ct[2] if role == "ct" else archive[role]
        for name, accept in (("OHIF frame", UNQUOTED), ("OHIF frame, quoted profile", QUOTED)):
            yield row(name, role, accept, octets, entry["transfer_syntax"])
        yield row("Python frame", role, PYTHON_ANY, None, None)
    yield row("OHIF frame, JPEG 2000 asked for", "jpeg2000", JPEG2000_UNQUOTED, jp2, jpeg2000)
    yield row("OHIF frame, JPEG-LS before octets", "jpegls", JPEGLS_FIRST, jls, jpegls)
    yield Request("OHIF frame, JPEG-LS before octets, ct", f"{archive.ct[2]['path']}/frames/1", JPEGLS_FIRST, 200,
                  "multipart/related", lambda answer: is_compressed(answer, archive.ct[2]))
    yield row("OHIF frame, Explicit VR Little Endian asked for", "ct", EXPLICIT_QUOTED, octets, EXPLICIT_LE)
    yield row("microscopy frame", "jpegls", MICROSCOPY, jls, jpegls, (3,))
    yield row("microscopy frame", "jpeg2000", MICROSCOPY, jp2, jpeg2000, (3,))
    yield row("microscopy frame", "ct", MICROSCOPY, octets, EXPLICIT_LE)
    yield row("JavaScript frames", "ct", BULK, octets, EXPLICIT_LE)
    yield row("JavaScript frames with a transfer syntax", "jpeg2000",
              f'multipart/related; type="image/jp2"; transfer-syntax={jpeg2000}', jp2, jpeg2000, (1, 4, 2))
    yield row("JavaScript frames with several", "jpegls",
              f'multipart/related; type="image/jls"; transfer-syntax={jpegls}, multipart/related; type="image/jp2"; '
              f"transfer-syntax={jpeg2000}", jls, jpegls, (1, 2))
    ct = archive.ct[0]
    yield Request("OHIF frame beyond the last", f"{ct['path']}/frames/2", UNQUOTED, 404, "application/problem+json")
    yield Request("frames of a report", f"{archive['report']['path']}/frames/1", UNQUOTED, 404, "application/problem+json")


def objects(archive):
    ct, segmentation = archive.ct[0], archive["segmentation"]
    study, series = f"/studies/{ct['study']}", f"/studies/{ct['study']}/series/{ct['series']}"

    def row(name, path, accept, entries):
        return Request(name, path, accept, 200, "multipart/related", lambda answer: is_files(answer, entries))

    yield row("OHIF segmentation", segmentation["path"], MULTIPART_DICOM, [segmentation])
    yield row("dwv series, with a trailing semicolon", series, f"{MULTIPART_DICOM}; transfer-syntax=*;", archive.ct)
    for name, path, entries in (("study", study, archive.ct), ("series", series, archive.ct), ("instance", ct["path"], [ct])):
        yield row(f"JavaScript {name}", path, MULTIPART_DICOM, entries)
    yield row("Python series", series, MULTIPART_DICOM, archive.ct)
    for entry in archive.entries:
        yield row(f"Python instance {entry['role']}", entry["path"], f"{MULTIPART_DICOM}; transfer-syntax=*", [entry])


def bulk(archive):
    """Needs the metadata, for what is asked for stands in it."""

    def uri(role, *path):
        answer = web.get(f"{archive.url}{archive[role]['path']}/metadata", JSON)
        element = {"Value": json.loads(answer.body)}
        for step in path:
            element = element["Value"][step - 1] if isinstance(step, int) else element[step]
        assert element["BulkDataURI"].startswith(archive.url), element
        return element["BulkDataURI"].removeprefix(archive.url)

    def row(name, path, accept, wanted, kind, single=False, status=200, **more):
        def check(answer):
            contents = [answer.body] if single else [content for _, content in answer.parts]
            if contents != [wanted]:
                yield f"{[len(c) for c in contents]} bytes, or others; is {len(wanted)}"
            if not single and answer.parts and answer.parts[0][0]["content-type"].partition(";")[0] != kind:
                yield f"a part of type {answer.parts[0][0]['content-type']}"

        return Request(name, path, accept, status, kind if single else "multipart/related", check, **more)

    octets = "application/octet-stream"
    palette = archive["palette"]["read"].RedPaletteColorLookupTableData
    path = uri("palette", 1, "00281201")
    yield row("OHIF palette", path, BULK, palette, octets)
    yield row("OHIF palette as a single part", path, "*/*", palette, octets, True)
    yield row("Python bulk data", path, PYTHON_ANY, palette, octets)
    yield row("JavaScript bulk data", path, octets, palette, octets, True)
    yield row("JavaScript bulk data, a range", path, octets, palette[:1024], octets, True, 206,
              headers={"Range": "bytes=0-1023"})
    pdf = archive["pdf"]["read"]
    document = pdf.EncapsulatedDocument[: pdf.EncapsulatedDocumentLength]
    yield row("OHIF PDF", uri("pdf", 1, "00420011"), PDF, document, "application/pdf")
    ecg = archive["ecg"]["read"].WaveformSequence[0].WaveformData
    yield row("OHIF ECG", uri("ecg", 1, "54000100", 1, "54001010"), octets, ecg, octets, True)
    yield row("OHIF PDF in an <object>", f"{archive['pdf']['path']}/rendered", BROWSER_PAGE, document, "application/pdf", True)
    film = b"".join(corpus.fragments_of(archive["video"]["read"]))
    yield row("OHIF <video>", f"{archive['video']['path']}/rendered", "*/*", film, "video/mp4", True, 206,
              headers={"Range": "bytes=0-"})


SIGNATURES = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n"}


def pictures(archive):
    """One picture by itself; several only as parts, so that OHIF and browsers see that a series is none."""
    ct = archive.ct[0]
    study, series, instance = f"/studies/{ct['study']}", ct["path"].rpartition("/instances")[0], ct["path"]

    def row(name, path, accept, kind="image/jpeg"):
        def is_picture(answer):
            if not answer.body.startswith(SIGNATURES[kind]):
                yield f"no {kind}: {answer.body[:20]}"

        return Request(name, path, accept, 200, kind, is_picture)

    def are_pictures(answer):
        if len(answer.parts) != len(archive.ct):
            yield f"{len(answer.parts)} pictures; is {len(archive.ct)}"
        for fields, content in answer.parts:
            if fields["content-type"] != "image/jpeg" or not content.startswith(SIGNATURES["image/jpeg"]):
                yield f"a part of type {fields['content-type']}"

    for level, what in ((series, "thumbnail"), (instance, "thumbnail"), (instance, "rendered")):
        yield row(f"OHIF {what}", f"{level}/{what}?viewport=256%2C256", "image/jpeg")
        yield row(f"OHIF {what} as bulk data", f"{level}/{what}?accept=image%2Fjpeg", BULK)
        yield row(f"OHIF {what} in an <img>", f"{level}/{what}?accept=image/jpeg", BROWSER_IMAGE)
    for accept in ("image/jpeg", BULK):
        yield Request("OHIF rendered of a series, which asks for an instance then",
                      f"{series}/rendered?viewport=256%2C256&accept=image/jpeg", accept, 406, "application/problem+json")
    yield row("dwv thumbnail", f"{instance}/rendered?viewport=64,64", "image/png", "image/png")
    asked = "viewport=128,128&window=40,400,linear&quality=80"
    for what in (f"{study}/thumbnail", f"{instance}/frames/1/rendered", f"{instance}/frames/1/thumbnail"):
        for accept, kind in (("image/jpeg", "image/jpeg"), ("image/png", "image/png"), ("*/*", "image/jpeg")):
            yield row("JavaScript picture", f"{what}?{asked}", accept, kind)
    for what in (study, series):
        yield Request("JavaScript pictures", f"{what}/rendered?{asked}", "*/*", 200, "multipart/related", are_pictures)
    yield row("Python picture", f"{instance}/rendered", "*/*")
    yield Request("a thumbnail of a report", f"{archive['report']['path']}/thumbnail", "image/jpeg", 404,
                  "application/problem+json")


def by_uri(archive):
    """WADO-URI (PS3.18 chapter 9)."""
    ct = archive.ct[0]
    query = f"requestType=WADO&studyUID={ct['study']}&seriesUID={ct['series']}&objectUID={ct['instance']}"

    def is_file(answer):
        if not answer.body.endswith(data_set(ct["bytes"])):
            yield "not the object"

    def row(name, path, accept):
        return Request(name, f"{path}?{query}&contentType=application/dicom&transferSyntax=*", accept, 200,
                       "application/dicom", is_file)

    yield row("OHIF wadouri", "/wado", UNQUOTED)
    yield row("JavaScript WADO-URI on the root itself", "", "*/*")


def uploads(archive):
    """One instance a request, and it is there."""
    template = archive.ct[0]
    file = template["bytes"].replace(template["instance"].encode(), shifted(template["instance"]).encode())
    boundary = str(uuid.uuid4())
    body = b"".join((f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), file,
                     f"\r\n--{boundary}--\r\n".encode()))

    def is_stored(answer):
        stored = json.loads(answer.body).get("00081199", {}).get("Value", [])
        if [item["00081155"]["Value"][0] for item in stored] != [shifted(template["instance"])]:
            yield f"not told to be stored: {answer.body[:300]}"

    yield Request("OHIF upload", "/studies", "*/*", 200, JSON, is_stored, "POST",
                  {"Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"'}, body)
    series = template["path"].rpartition("/instances")[0]
    uids = {entry["instance"] for entry in archive.ct} | {shifted(template["instance"])}
    yield Request("found after the upload", f"{series}/instances", JSON, 200, JSON,
                  lambda answer: is_found(answer, "instance", uids, ()))
    _, form = corpus.read(io.BytesIO(file))
    entry = {"instance": shifted(template["instance"]), "form": form}
    yield Request("retrieved after the upload", f"{series}/instances/{entry['instance']}", MULTIPART_DICOM, 200,
                  "multipart/related", lambda answer: is_files(answer, [entry]))


def shifted(uid):
    """Another UID of the same length."""
    return uid[:-1] + str((int(uid[-1]) + 1) % 10)


UIDS = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}


def is_found(answer, level, uids, attributes):
    if not uids:
        return
    matches = json.loads(answer.body)
    found = [match[UIDS[level]]["Value"][0] for match in matches]
    if sorted(found) != sorted(uids):
        yield f"found {sorted(found)}; is {sorted(uids)}"
    for match in matches:
        missing = [tag for tag in attributes if tag not in match]
        if missing:
            yield f"{match[UIDS[level]]['Value']} without {missing}"


def is_some(answer, level, uids, count):
    found = {match[UIDS[level]]["Value"][0] for match in json.loads(answer.body)}
    if len(found) != count or not found <= uids:
        yield f"found {sorted(found)}"


def is_metadata(answer, entries):
    models = {m["00080018"]["Value"][0]: m for m in json.loads(answer.body, parse_float=Decimal)}
    if models.keys() != {entry["instance"] for entry in entries}:
        yield f"{len(models)} instances; is {len(entries)}"
        return
    for entry in entries:
        yield from compare(corpus.of_json(models[entry["instance"]]), entry)


def is_frames(answer, wanted, kind, syntax):
    contents = [content for _, content in answer.parts]
    # An encapsulated frame of odd length is padded in the file; the pad is no part of it.
    if len(contents) != len(wanted) or any(c not in (w, w.removesuffix(b"\0")) for c, w in zip(contents, wanted)):
        yield f"{[len(c) for c in contents]} bytes, or others; is {[len(w) for w in wanted]}"
    for fields, _ in answer.parts:
        said = fields["content-type"]
        if kind and said.partition(";")[0] != kind or syntax and web.parameter(said, "transfer-syntax") != syntax:
            yield f"a part of type {said}"


def is_compressed(answer, entry):
    """One frame in JPEG-LS, whose pixels are those of the file."""
    for fields, content in answer.parts:
        if fields["content-type"].partition(";")[0] != "image/jls":
            yield f"a part of type {fields['content-type']}"
        pixels = imagecodecs.jpegls_decode(content)
        if pixels.tobytes() != entry["read"].pixel_array.astype(pixels.dtype).tobytes():
            yield "other pixels than in the file"
    if len(answer.parts) != 1:
        yield f"{len(answer.parts)} frames; is 1"


def is_files(answer, entries):
    """PS3.10 files that say what those of `entries` say. Orthanc writes lengths anew, so bytes would tell too much."""
    came = [content for _, content in answer.parts]
    if len(came) != len(entries):
        yield f"{len(came)} objects; is {len(entries)}"
    for entry in entries:
        of_entry = [c for c in came if entry["instance"].encode() in c]
        if len(of_entry) != 1 or of_entry[0][128:132] != b"DICM":
            yield f"{entry['instance']}: not there, or no file"
            continue
        _, form = corpus.read(io.BytesIO(of_entry[0]))
        yield from (f"{path}: other than in the file" for path in different(form, entry["form"]))


def different(form, wanted):
    return [path for path in {*form, *wanted} if form.get(path) != wanted.get(path)]


def data_set(file):
    return file[132 + 12 + int.from_bytes(file[140:144], "little"):]


SECTIONS = [searches, metadata, frames, objects, bulk, pictures, by_uri, uploads]
NAMES = [section.__name__ for section in SECTIONS]


def play(request, url, origin):
    """What is wrong with the answer, and with what a page of `origin` may do with it."""
    safe = '"' not in request.accept and len(request.accept) <= MAX_SAFELISTED
    custom = ["accept"] * (not safe) + ["content-type"] * ("Content-Type" in request.headers)
    custom += ["range"] * ("Range" in request.headers)
    if custom:
        asked = {"Origin": origin, "Access-Control-Request-Method": request.method,
                 "Access-Control-Request-Headers": ",".join(sorted(custom))}
        answer = web.ask("OPTIONS", url + request.path, asked)
        allowed = [h.strip().lower() for h in answer.headers.get("access-control-allow-headers", "").split(",")]
        if answer.status not in (200, 204) or answer.headers.get("access-control-allow-origin") != origin:
            yield f"preflight: {answer.status} {answer.headers}"
        if not set(custom) <= set(allowed) or not int(answer.headers.get("access-control-max-age", 0)):
            yield f"preflight: does not allow {custom}: {answer.headers}"
    headers = {"Accept": request.accept, "Origin": origin, **request.headers}
    answer = web.ask(request.method, url + request.path, headers, request.body)
    if answer.headers.get("access-control-allow-origin") != origin:
        yield "a page may not read the answer"
    if answer.status != request.status or not answer.kind.startswith(request.kind):
        yield f"{answer.status} {answer.kind} {answer.body[:300] if answer.status >= 400 else b''}"
    elif answer.status < 400:
        yield from request.check(answer)


def main():
    warnings.filterwarnings("ignore")
    url, origin = sys.argv[1].rstrip("/"), sys.argv[3]
    archive = Archive(Path(sys.argv[2]), url)
    count, problems = 0, []
    sections = [section for section in SECTIONS if section.__name__ in (sys.argv[4:] or NAMES)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        def replay(request):
            try:
                return [f"{request.name}: {request.method} {request.path}: {problem}" for problem in play(request, url, origin)]
            except Exception as error:  # noqa: BLE001 - every request is to be told of
                return [f"{request.name}: {request.method} {request.path}: {type(error).__name__}: {error}"]

        for section in sections:
            requests = list(section(archive))
            count += len(requests)
            # What is stored changes what is found: one after the other.
            found = map(replay, requests) if section is uploads else pool.map(replay, requests)
            problems += [problem for of_one in found for problem in of_one]
    print(f"{count} requests")
    for problem in problems:
        print(problem[:700], file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
