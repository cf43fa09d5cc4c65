#!/usr/bin/env python3
"""Holds the structured reports of a folder, as a bridge writes them for a person, against pydicom and DCMTK's dsr2html.

  reports_against_dcmtk.py DICOMWEB_URL FOLDER

Writes {"reports": count, "by_dcmtk": count, "missing": {file: [what is not shown]}} to standard output."""

import html
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pydicom

import web

REPORTS = "1.2.840.10008.5.1.4.1.1.88."
# What dsr2html writes of its own, also for what has other words here: the sex, and objects of no class.
OF_DCMTK = set(
    """acquisition annex composite concept context date dicom docs document flag footnote image item modifier observation
    observers other physician presentation properties reference state time unknown verifying""".split()
)


def values(data_set):
    """Every value of the content items of a data set that is text to a person."""
    for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
        for code in data_set.get(keyword) or []:
            yield code.get("CodeMeaning")
    for keyword in ("TextValue", "UID", "GraphicType", "TemporalRangeType"):
        yield data_set.get(keyword)
    for name in [data_set.get("PersonName")]:
        yield from re.split(r"[\^=]", str(name or ""))
    for keyword, form in (("Date", r"(\d{4})(\d\d)(\d\d)"), ("Time", r"(\d\d)(\d\d)(\d\d)")):
        if data_set.get(keyword):
            yield re.sub(form, lambda m: ("-" if keyword == "Date" else ":").join(m.groups()), data_set.get(keyword))
    for measured in data_set.get("MeasuredValueSequence") or []:
        yield str(measured.get("NumericValue", ""))
        for unit in measured.get("MeasurementUnitsCodeSequence") or []:
            yield unit.get("CodeValue") if unit.get("CodeValue") != "1" else None
    for item in data_set.get("ContentSequence") or []:
        yield from values(item)


def words(text):
    return set(re.findall(r"\w{2,}", text))


def missing(path, plain, page):
    shown = re.sub(r"<[^>]*>", " ", page.split("</style>")[1])
    shown = words(html.unescape(shown))
    for value in values(pydicom.dcmread(path)):
        for line in re.split(r"[\r\n]+", str(value or "")):
            if line.strip() and line.strip() not in plain:
                yield f"pydicom, text/plain: {line}"
            yield from (f"pydicom, text/html: {word}" for word in words(line) - shown)


def missing_of_dcmtk(path, plain):
    run = subprocess.run(["dsr2html", "-Er", "-Ec", "-Ee", "-Ei", "+U8", str(path)], capture_output=True, check=False)
    if run.returncode != 0:
        return None
    theirs = run.stdout.decode("utf-8").split("<body>")[1].split("This page was generated")[0]
    theirs = html.unescape(re.sub(r"<[^>]*>", " ", theirs))
    # Codes behind their meanings, and names of classes as keywords.
    theirs = {word.lower() for word in words(re.sub(r"\([^()]*, 99_OFFIS_DCMTK\)", "", theirs))}
    ours = re.sub(r"\W", "", plain).lower()
    return [f"DCMTK: {word}" for word in sorted(theirs - OF_DCMTK) if word not in ours]


def main():
    warnings.filterwarnings("ignore")
    url, folder = sys.argv[1].rstrip("/"), Path(sys.argv[2])
    told = {"reports": 0, "by_dcmtk": 0, "missing": {}}
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        path = folder / entry["file"]
        if not pydicom.dcmread(path, force=True, stop_before_pixels=True).get("SOPClassUID", "").startswith(REPORTS):
            continue
        resource = f"{url}/studies/{entry['study']}/series/{entry['series']}/instances/{entry['instance']}/rendered"
        plain, page = web.get(resource, "text/plain"), web.get(resource, "text/html")
        assert (plain.status, page.status) == (200, 200), (entry, plain, page)
        plain, page = plain.body.decode("utf-8"), page.body.decode("utf-8")
        wrong = list(missing(path, plain, page))
        of_dcmtk = missing_of_dcmtk(path, plain)
        told["reports"] += 1
        told["by_dcmtk"] += of_dcmtk is not None
        if wrong := wrong + (of_dcmtk or []):
            told["missing"][entry["source"]] = wrong
    json.dump(told, sys.stdout, indent=1)


main()
