#!/usr/bin/env python3
"""Makes the worklist that DCMTK's wlmscpfs serves: OUT/TITLE/*.wl, one entry for each kind of name and character set.

  make_worklist.py OUT TITLE
"""

import sys
from pathlib import Path

from make_data import NAMES, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

MODALITIES = ["CT", "MR", "US"]


def entry(number, character_set, name):
    step = Dataset()
    step.Modality = MODALITIES[number % len(MODALITIES)]
    step.ScheduledStationAETitle = f"STATION{number % 2}"
    step.ScheduledProcedureStepStartDate = f"202611{1 + number:02}"
    step.ScheduledProcedureStepStartTime = f"{8 + number % 10:02}0000"
    step.ScheduledPerformingPhysicianName = "HOUSE^GREGORY"
    step.ScheduledProcedureStepDescription = f"Step {number}"
    step.ScheduledProcedureStepID = f"SPS{number}"
    step.ScheduledStationName = "ROOM"
    ds = Dataset()
    if character_set:
        ds.SpecificCharacterSet = character_set
    ds.AccessionNumber = f"W{number:05}"
    ds.ReferringPhysicianName = "CUDDY^LISA"
    ds.PatientName = name
    ds.PatientID = f"WL{number}"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.StudyInstanceUID = uid("worklist", number)
    ds.RequestedProcedureDescription = f"Procedure {number}"
    ds.ScheduledProcedureStepSequence = [step]
    ds.RequestedProcedureID = f"RP{number}"
    ds.RequestedProcedurePriority = "ROUTINE"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
    ds.file_meta.MediaStorageSOPInstanceUID = uid("worklist", number, "file")
    return ds


def main():
    folder = Path(sys.argv[1]) / sys.argv[2]
    folder.mkdir(parents=True)
    (folder / "lockfile").touch()
    # A worklist is of patients: one without a name is none.
    named = [(character_set, name) for character_set, name in NAMES if name]
    for number, (character_set, name) in enumerate(named):
        entry(number, character_set, name).save_as(folder / f"{number:02}.wl", enforce_file_format=True)
    print(len(named))


main()
