#!/usr/bin/env python3
"""Everything that the dicomweb-clients can do, unmodified, against a bridge.

  clients.py python|javascript DICOMWEB_URL FOLDER use     searches and retrieves FOLDER's objects, which the archive holds
  clients.py python|javascript DICOMWEB_URL FOLDER store   stores FOLDER's objects, which the archive does not hold

FOLDER is what `make_data.py viewers` made. Fails unless each method gives what is in the files."""

import base64
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pydicom
from dicomweb_client.api import DICOMwebClient

import corpus

HERE = Path(__file__).parent
PACKAGES = HERE.parent.parent / ".peers/js/node_modules"
AS_STORED = ("application/dicom", "*")
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"


class Python:
    """dicomweb-client for Python."""

    def __init__(self, url):
        self.client = DICOMwebClient(url)

    def search(self, level, study=None, series=None, filters=None, **paging):
        of = [uid for uid in (study, series) if uid]
        method = {"studies": "studies", "series": "series", "instances": "instances"}[level]
        return getattr(self.client, f"search_for_{method}")(*of, search_filters=filters or {}, **paging)

    def metadata(self, *uids):
        method = ("study", "series", "instance")[len(uids) - 1]
        found = getattr(self.client, f"retrieve_{method}_metadata")(*uids)
        return found if isinstance(found, list) else [found]

    def objects(self, *uids, media_type=None):
        """[(SOP Instance UID, data set)]"""
        method = ("study", "series", "instance")[len(uids) - 1]
        found = getattr(self.client, f"retrieve_{method}")(*uids, media_types=(media_type,) if media_type else None)
        return found if isinstance(found, list) else [found]

    def frames(self, *uids, numbers, media_type=None):
        return self.client.retrieve_instance_frames(*uids, numbers, media_types=(media_type,) if media_type else None)

    def bulk_data(self, uri):
        return self.client.retrieve_bulkdata(uri)

    def bulk_data_in_one_part(self, uri):
        return self.client.retrieve_bulkdata(uri, media_types=("application/octet-stream",))

    def store(self, files, study=None):
        datasets = [pydicom.dcmread(file) for file in files]
        stored = self.client.store_instances(datasets, study)
        return [str(item.ReferencedSOPInstanceUID) for item in stored.ReferencedSOPSequence]


class JavaScript:
    """dicomweb-client for JavaScript, in a Node of its own."""

    def __init__(self, url):
        environment = {**os.environ, "NODE_PATH": str(PACKAGES)}
        self.node = subprocess.Popen(["node", HERE / "js/calls.js", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     env=environment, text=True)

    def call(self, method, options, **more):
        print(json.dumps({"method": method, "options": options, **more}), file=self.node.stdin, flush=True)
        answer = json.loads(self.node.stdout.readline())
        assert "error" not in answer, f"{method} {options}: {answer}"
        return answer.get("value")

    def search(self, level, study=None, series=None, filters=None, **paging):
        options = {"queryParams": {**(filters or {}), **{k: v for k, v in paging.items() if k != "fields"}}}
        for field in paging.get("fields", []):
            options["queryParams"]["includefield"] = field
        options |= {k: v for k, v in (("studyInstanceUID", study), ("seriesInstanceUID", series)) if v}
        return self.call(f"searchFor{level.capitalize()}", options)

    def metadata(self, *uids):
        found = self.call(f"retrieve{('Study', 'Series', 'Instance')[len(uids) - 1]}Metadata", named(uids))
        return found if isinstance(found, list) else [found]

    def objects(self, *uids, media_type=None):
        # It has no way to ask for objects as they are stored: of any media type for them it remembers a half.
        assert media_type is None
        found = self.call(f"retrieve{('Study', 'Series', 'Instance')[len(uids) - 1]}", named(uids))
        files = bytes_of(found if isinstance(found, list) else [found])
        return [pydicom.dcmread(pydicom.filebase.DicomBytesIO(file)) for file in files]

    def frames(self, *uids, numbers, media_type=None):
        options = named(uids) | media_types(media_type) | {"frameNumbers": numbers}
        return bytes_of(self.call("retrieveInstanceFrames", options))

    def bulk_data(self, uri):
        return bytes_of(self.call("retrieveBulkData", {"BulkDataURI": uri}))

    def bulk_data_in_one_part(self, uri):
        return bytes_of(self.call("retrieveBulkData", {"BulkDataURI": uri}, singlepart="bulkdata"))

    def store(self, files, study=None):
        datasets = [{"base64": base64.b64encode(file.read_bytes()).decode()} for file in files]
        options = {"datasets": datasets} | ({"studyInstanceUID": study} if study else {})
        stored = json.loads(self.call("storeInstances", options))
        return [item["00081155"]["Value"][0] for item in stored["00081199"]["Value"]]


def named(uids):
    return dict(zip(("studyInstanceUID", "seriesInstanceUID", "sopInstanceUID"), uids))


def media_types(media_type):
    if not media_type:
        return {}
    return {"mediaTypes": [{"mediaType": media_type[0], "transferSyntaxUID": media_type[1]}]}


def bytes_of(values):
    return [base64.b64decode(value["base64"]) for value in values]


def use(client, entries):
    tree = {}
    for entry in entries:
        tree.setdefault(entry["study"], {}).setdefault(entry["series"], []).append(entry)
    searches(client, tree)
    as_stored = isinstance(client, Python)
    for study, of_study in tree.items():
        every = [entry for of_series in of_study.values() for entry in of_series]
        same_metadata(client.metadata(study), every)
        if as_stored:
            same_objects(client.objects(study, media_type=AS_STORED), every)
        for series, of_series in of_study.items():
            same_metadata(client.metadata(study, series), of_series)
            for entry in of_series:
                same_metadata(client.metadata(*uids_of(entry)), [entry])
            if as_stored:
                same_objects(client.objects(study, series, media_type=AS_STORED), of_series)
            if of_series[0]["transfer_syntax"] in NATIVE:
                same_objects(client.objects(study, series), of_series)
            for entry in of_series:
                if as_stored:
                    same_objects(client.objects(*uids_of(entry), media_type=AS_STORED), [entry])
                if entry["transfer_syntax"] in NATIVE:
                    same_objects(client.objects(*uids_of(entry)), [entry])
    by_role = {entry["role"]: entry for entry in entries}
    ct = [entry for entry in entries if entry["role"] == "ct"]
    same_objects(client.objects(ct[0]["study"]), ct)
    same_frames(client.frames(*uids_of(ct[0]), numbers=[1]), ct[0], [1])
    same_frames(client.frames(*uids_of(by_role["segmentation"]), numbers=[1, 3]), by_role["segmentation"], [1, 3])
    kinds = [("jpeg2000", "image/jp2"), ("jpegls", "image/jls")]
    if as_stored:
        kinds += [("rle", "image/dicom-rle")]
    for role, kind in kinds:
        entry = by_role[role]
        media_type = (kind, entry["transfer_syntax"])
        same_frames(client.frames(*uids_of(entry), numbers=[1, 2, 10], media_type=media_type), entry, [1, 2, 10])
    bulk_data(client, by_role)


def searches(client, tree):
    def values(matches, tag):
        return sorted(match[tag]["Value"][0] for match in matches)

    every_series = {series: entries for of_study in tree.values() for series, entries in of_study.items()}
    instances = sorted(entry["instance"] for entries in every_series.values() for entry in entries)
    assert values(client.search("studies"), STUDY) == sorted(tree)
    assert values(client.search("series"), SERIES) == sorted(every_series)
    assert values(client.search("instances"), INSTANCE) == instances
    pages = [client.search("instances", limit=4, offset=offset) for offset in range(0, len(instances), 4)]
    assert values([match for page in pages for match in page], INSTANCE) == instances
    described = client.search("studies", filters={"PatientID": "V1"}, fields=["StudyDescription"])
    assert [match["00081030"]["Value"] for match in described] == [["CT THORAX"]], described
    assert not client.search("studies", filters={"PatientID": "NOBODY"})
    for study, of_study in tree.items():
        assert values(client.search("series", study), SERIES) == sorted(of_study)
        of_it = sorted(entry["instance"] for entries in of_study.values() for entry in entries)
        assert values(client.search("instances", study), INSTANCE) == of_it
        for series, entries in of_study.items():
            assert values(client.search("instances", study, series), INSTANCE) == sorted(e["instance"] for e in entries)


def uids_of(entry):
    return entry["study"], entry["series"], entry["instance"]


def same_metadata(models, entries):
    """The same attributes; their values are another test's matter."""
    models = {model[INSTANCE]["Value"][0]: model for model in models}
    assert models.keys() == {entry["instance"] for entry in entries}, models.keys()
    for entry in entries:
        got = {path: vr for path, (vr, _) in corpus.of_json(models[entry["instance"]]).items()}
        assert got == {path: vr for path, (vr, _) in entry["form"].items()}, entry["role"]


def same_objects(datasets, entries):
    datasets = {str(ds.SOPInstanceUID): ds for ds in datasets}
    assert datasets.keys() == {entry["instance"] for entry in entries}, datasets.keys()
    for entry in entries:
        ds, wanted = datasets[entry["instance"]], entry["read"]
        assert ds.get("PixelData") == wanted.get("PixelData"), entry["role"]
        assert str(ds.PatientName) == str(wanted.PatientName) and len(ds) == len(wanted), entry["role"]


def same_frames(got, entry, numbers):
    wanted = [corpus.frames_of(entry["read"])[number - 1] for number in numbers]
    assert len(got) == len(wanted), f"{entry['role']}: {len(got)} frames"
    # An encapsulated frame of odd length is padded in the file; the pad is no part of it.
    assert all(a in (b, b.removesuffix(b"\0")) for a, b in zip(got, wanted)), entry["role"]


def bulk_data(client, by_role):
    palette, ecg = by_role["palette"], by_role["ecg"]
    (model,) = client.metadata(*uids_of(palette))
    uri = model["00281201"]["BulkDataURI"]
    wanted = palette["read"].RedPaletteColorLookupTableData
    assert client.bulk_data(uri) == [wanted]
    assert client.bulk_data_in_one_part(uri) == [wanted]
    (model,) = client.metadata(*uids_of(ecg))
    uri = model["54000100"]["Value"][0]["54001010"]["BulkDataURI"]
    assert client.bulk_data(uri) == [ecg["read"].WaveformSequence[0].WaveformData]


def store(client, folder, entries):
    """Some one by one, into the study that they are of, and the others together."""
    ct = [entry for entry in entries if entry["role"] == "ct"]
    others = [entry for entry in entries if entry["role"] != "ct"]
    for entry in ct:
        stored = client.store([folder / entry["file"]], entry["study"])
        assert stored == [entry["instance"]], stored
    stored = client.store([folder / entry["file"] for entry in others])
    assert sorted(stored) == sorted(entry["instance"] for entry in others), stored
    assert len(client.search("instances")) == len(entries)


def main():
    warnings.filterwarnings("ignore")
    kind, url, folder, what = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    client = {"python": Python, "javascript": JavaScript}[kind](url)
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for entry in entries:
        entry["read"], entry["form"] = corpus.read(folder / entry["file"])
    if what == "use":
        use(client, entries)
    else:
        store(client, folder, entries)


if __name__ == "__main__":
    main()
