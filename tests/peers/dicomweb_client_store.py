#!/usr/bin/env python3
"""Stores through a bridge with dicomweb-client, unmodified, and looks into Orthanc whether everything is there.

  dicomweb_client_store.py DICOMWEB_URL ORTHANC_URL

Fails unless each instance is told to be stored, and Orthanc holds its data set byte by byte."""

import json
import sys
import urllib.request
from io import BytesIO
from urllib.parse import urlsplit

import pydicom
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid


def instance(study, series, number, syntax):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.PatientID, ds.PatientName, ds.Modality = "STOW", "Stow^Patient", "CT"
    ds.InstanceNumber = number
    ds.Rows = ds.Columns = 64
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = bytes((at * number) % 251 for at in range(64 * 64 * 2))
    ds.preamble = bytes(128)
    return ds


def data_set(ds):
    """The encoded data set alone."""
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = ds.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    pydicom.filewriter.write_dataset(buffer, ds)
    return buffer.getvalue()


def held(orthanc, ds):
    """The file that Orthanc holds of an instance."""
    lookup = urllib.request.Request(f"{orthanc}/tools/lookup", data=str(ds.SOPInstanceUID).encode(), method="POST")
    found = json.load(urllib.request.urlopen(lookup))
    assert len(found) == 1, f"Orthanc does not hold {ds.SOPInstanceUID}: {found}"
    return urllib.request.urlopen(f"{orthanc}{found[0]['Path']}/file").read()


def main():
    url, orthanc = sys.argv[1], sys.argv[2]
    client = DICOMwebClient(url)
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        study, series = generate_uid(), generate_uid()
        sent = [instance(study, series, number, syntax) for number in range(1, 6)]
        for told in (client.store_instances(sent[:3]), client.store_instances(sent[3:], study_instance_uid=study)):
            assert "FailedSOPSequence" not in told, told
            # Its Host header has no port, so neither has the URL.
            assert urlsplit(told.RetrieveURL).path == f"{urlsplit(url).path}/studies/{study}", told.RetrieveURL
            for item in told.ReferencedSOPSequence:
                assert item.RetrieveURL.endswith(f"/series/{series}/instances/{item.ReferencedSOPInstanceUID}")
        for ds in sent:
            file = held(orthanc, ds)
            assert pydicom.dcmread(BytesIO(file)).file_meta.TransferSyntaxUID == syntax
            assert file.endswith(data_set(ds)), f"the bytes of {ds.SOPInstanceUID} differ"
        found = client.search_for_instances(study)
        assert len(found) == len(sent), found


if __name__ == "__main__":
    main()
