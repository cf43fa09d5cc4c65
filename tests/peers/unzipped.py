"""Reads a zip archive with Python: `unzipped.py ARCHIVE` prints how many files are good, `unzipped.py ARCHIVE FOLDER`
reads those in the folder that it was unpacked to with pydicom, and prints the path of each."""

import sys
import zipfile
from pathlib import Path

import pydicom

archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
names = archive.namelist()
assert len(set(names)) == len(names)
if len(sys.argv) == 2:
    print(len(names))
    sys.exit()
folder = Path(sys.argv[2])
found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
assert found == sorted(names), (found, names)
for name in names:
    data_set = pydicom.dcmread(folder / name)
    assert data_set.file_meta.MediaStorageSOPInstanceUID == data_set.SOPInstanceUID
    uids = (data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID)
    assert name == "/".join(uids) + ".dcm", (name, uids)
    print(name)
