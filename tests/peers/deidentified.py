#!/usr/bin/env python3
"""Reads the objects of a folder as a bridge gives them out de-identified, with pydicom.

  deidentified.py DICOMWEB_URL FOLDER

Writes {"read": count, "wrong": {file: [what is wrong]}} to standard output."""

import io
import json
import sys
import warnings
from pathlib import Path

import pydicom

import web

EMPTY = ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID")
GONE = ("PatientAge", "PatientAddress", "StudyDescription", "SeriesDescription", "InstitutionAddress", "PatientComments")
UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
# Values that are searched for in all of what came.
TELLING = EMPTY + GONE + UIDS + ("PatientID", "InstitutionName", "ReferringPhysicianName", "OperatorsName", "StationName")
SHORT = 8
BIG_ENDIAN = "1.2.840.10008.1.2.2"


def problems(answer, original, known):
    if original.get("BurnedInAnnotation") == "YES":
        if answer.status != 406:
            yield f"status {answer.status}, and the pixels name the patient"
        return
    if answer.status != 200:
        yield f"status {answer.status} {answer.body[:200]}"
        return
    new = pydicom.dcmread(io.BytesIO(answer.body))
    if new.file_meta.MediaStorageSOPInstanceUID != new.get("SOPInstanceUID", new.file_meta.MediaStorageSOPInstanceUID):
        yield "the File Meta Information names another instance"
    for element in new.iterall():
        if element.tag.is_private:
            yield f"private: {element.tag}"
    for keyword in EMPTY:
        if new.get(keyword):
            yield f"{keyword} has a value"
    for keyword in GONE:
        if keyword in new:
            yield f"{keyword} is there"
    for keyword in UIDS:
        if keyword in original and original.get(keyword):
            if known.setdefault(str(original.get(keyword)), new.get(keyword)) != new.get(keyword):
                yield f"{keyword} is another one than elsewhere"
    data_set = answer.body
    for keyword in TELLING:
        value = str(original.get(keyword) or "")
        # The table keeps Position Reference Indicator, where some scanners repeat the description of the study.
        kept = value in str(original.get("PositionReferenceIndicator"))
        if len(value) >= SHORT and value.isascii() and not kept and value.encode() in data_set:
            yield f"{keyword} of the original stands somewhere"
    if new.get("PatientIdentityRemoved") != "YES" or "DeidentificationMethodCodeSequence" not in new:
        yield "it does not say that it was de-identified"
    if "PixelData" in original and original.file_meta.get("TransferSyntaxUID") != BIG_ENDIAN:
        if original.PixelData != new.PixelData:
            yield "the pixels are others"


def main():
    warnings.filterwarnings("ignore")
    url, folder = sys.argv[1].rstrip("/"), Path(sys.argv[2])
    told, known = {"read": 0, "wrong": {}}, {}
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        query = f"requestType=WADO&studyUID={entry['study']}&seriesUID={entry['series']}&objectUID={entry['instance']}"
        more = "contentType=application/dicom&transferSyntax=*&anonymize=yes"
        answer = web.get(f"{url}/wado?{query}&{more}", "*/*")
        try:
            wrong = list(problems(answer, pydicom.dcmread(folder / entry["file"], force=True), known))
        except Exception as error:  # noqa: BLE001 - every file is to be told of
            wrong = [f"{type(error).__name__}: {error}"[:400]]
        told["read"] += not wrong
        if wrong:
            told["wrong"][entry["source"]] = wrong
    json.dump(told, sys.stdout, indent=1)


main()
