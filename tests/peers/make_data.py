#!/usr/bin/env python3
"""Makes the DICOM files that the tests and the benchmark use. The same arguments give the same bytes.

  make_data.py ct OUT [--slices N]      a CT study of one series, 16 bit; --rows N for its size, and --variant WORD for
                                        other bytes under the same UIDs, WORD in every Institution Name
  make_data.py names OUT                22 studies, one for each kind of name and character set
  make_data.py big OUT [--bytes N]      a study of one multi-frame object, written frame by frame
  make_data.py pydicom OUT              the files that pydicom brings for its own tests
  make_data.py viewers OUT              one object of each kind that viewers ask for in a way of its own, in two studies
  make_data.py corpus OUT               these, those of pydicom-data and those of each character set; files that claim to be
                                        the same object, or none, get UIDs of their own

Each writes OUT/manifest.json: one entry an object, with its UIDs, its file and what a test expects of it.
"""

import argparse
import hashlib
import io
import json
import shutil
import warnings
from importlib.resources import files
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41, UID, ExplicitVRLittleEndian

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME_BYTE = "1.2.840.10008.5.1.4.1.1.7.2"

# Specific Character Set and Patient's Name: every kind of set that PS3.3 C.12.1.1.2 knows, and names that strain
# what compares, pads or splits them.
NAMES = [
    ([], "SMITH^JOHN^ALBERT^DR^JR"),
    (["ISO_IR 100"], "Müller^Jürgen"),
    (["ISO_IR 100"], "Núñez^María José"),
    (["ISO_IR 101"], "Wałęsa^Łukasz"),
    (["ISO_IR 144"], "Люкceмбypг^Анна"),
    (["ISO_IR 126"], "Διονυσιος^Γεωργιος"),
    (["ISO_IR 127"], "قباني^لنزار"),
    (["ISO_IR 138"], "שרון^דבורה"),
    (["ISO_IR 166"], "นามสกุล^ชื่อ"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    (["ISO_IR 13"], "ﾀﾅｶ^ﾊﾅｺ"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    (["GB18030"], "Wang^XiaoDong=王^小东"),
    (["GBK"], "Zhang^Wei=张^伟"),
    (["ISO_IR 192"], "Wang^XiaoDong=王^小东"),
    (["ISO_IR 192"], "Ångström^Łukasz=Ω^Ж=あ^い"),
    ([], ""),
    ([], "O'BRIEN^MARY-ANN"),
    ([], "van der Berg^lowercase"),
    ([], "SMITH"),
    (["ISO_IR 148"], "Çavuşoğlu^İbrahim"),
]


def uid(*parts):
    """A UID under 2.25 that is a function of `parts`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return "2.25." + str(int.from_bytes(digest[:15], "big"))


class Manifest:
    def __init__(self, out):
        self.out = Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.objects = []

    def path(self, name):
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, dataset, file, **expected):
        self.objects.append({
            "study": str(dataset.StudyInstanceUID), "series": str(dataset.SeriesInstanceUID),
            "instance": str(dataset.SOPInstanceUID), "sop_class": str(dataset.SOPClassUID),
            "transfer_syntax": str(dataset.file_meta.TransferSyntaxUID), "file": file, **expected,
        })

    def write(self):
        text = json.dumps(self.objects, indent=1, ensure_ascii=False)
        (self.out / "manifest.json").write_text(text + "\n", encoding="utf-8")
        print(f"{self.out}: {len(self.objects)} objects")


def image(sop_class, *key, study=None, rows, bits, character_set=(), name="GANTRY^TEST", patient_id="GANTRY"):
    """The data set of an image without its pixels. `key` makes its UIDs; the study's are those of key[0]."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid(*key, "instance")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    if character_set:
        ds.SpecificCharacterSet = list(character_set) if len(character_set) > 1 else character_set[0]
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20240229"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "101500"
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = "A1", "OT", "Gantry"
    ds.ReferringPhysicianName, ds.StudyDescription = "", "Test"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = name, patient_id, "19700101", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(study or key[0], "study"), uid(study or key[0], "series")
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", 1, 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = rows
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit, ds.PixelRepresentation = bits - 1, 0
    return ds


def save(ds, path):
    ds.save_as(path, enforce_file_format=True)


def make_ct(manifest, slices, rows, variant):
    """Concentric densities that shrink towards the ends of the stack, with noise, so that no slice is like another."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : rows * 1j]
    radius = np.hypot(x, y * 1.2)
    for number in range(slices):
        ds = image(CT_IMAGE, "ct", slices, number, study=f"ct-{slices}", rows=rows, bits=16)
        size = np.sin(np.pi * (number + 1) / (slices + 1)) * 0.5 + 0.4
        pixels = np.select([radius < size * 0.8, radius < size * 0.9, radius < size], [1040, 1900, 960], 24)
        pixels = pixels + np.random.default_rng([number, *variant.encode()]).normal(0, 12, pixels.shape)
        ds.Modality, ds.InstanceNumber, ds.InstitutionName = "CT", number + 1, variant
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [-250, -250, number], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness, ds.KVP = [0.977, 0.977], 1, 120
        ds.RescaleIntercept, ds.RescaleSlope, ds.FrameOfReferenceUID = -1024, 1, uid("ct", slices, "frame")
        ds.PixelData = np.clip(pixels, 0, 4095).astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        name = f"{number:05}.dcm"
        save(ds, manifest.path(name))
        manifest.add(ds, name)


def make_names(manifest):
    for number, (character_set, name) in enumerate(NAMES):
        ds = image(SECONDARY_CAPTURE, f"names-{number}", rows=8, bits=8, character_set=character_set,
                   name=name, patient_id=f"N{number:02}")
        ds.PixelData = bytes(64)
        ds["PixelData"].VR = "OB"
        ds.ConversionType = "SYN"
        file = f"{number:02}.dcm"
        save(ds, manifest.path(file))
        manifest.add(ds, file, name=name, patient_id=ds.PatientID, character_set=character_set)


def make_big(manifest, size):
    rows = 1024
    frames = max(1, size // rows**2)
    ds = image(MULTI_FRAME_BYTE, "big", frames, rows=rows, bits=8)
    ds.NumberOfFrames, ds.ConversionType = frames, "SYN"
    ds.FrameIncrementPointer, ds.FrameTime = 0x00181063, "40"
    path = manifest.path("big.dcm")
    save(ds, path)
    noise = np.random.default_rng(0).integers(0, 256, rows * rows, dtype=np.uint8)
    with open(path, "ab") as file:
        file.write(b"\xe0\x7f\x10\x00OB\0\0" + (frames * rows * rows).to_bytes(4, "little"))
        for number in range(frames):
            file.write(np.roll(noise, number * 7919).tobytes())
    manifest.add(ds, "big.dcm")


def make_pydicom(manifest):
    """Only what lies in the package itself, and only what says what it is; the archive decides what it takes."""
    seen = set()
    for path in sorted((Path(pydicom.__file__).parent / "data/test_files").rglob("*")):
        if not path.is_file():
            continue
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            uids = [ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID, ds.SOPClassUID]
            syntax = ds.file_meta.TransferSyntaxUID
        except Exception:  # noqa: BLE001 - many of these files are broken on purpose
            continue
        if not all([*uids, syntax]) or ds.SOPInstanceUID in seen:
            continue
        seen.add(ds.SOPInstanceUID)
        # Files of the same name lie in several of its folders.
        name = f"{len(seen):03}-{path.stem}.dcm"
        shutil.copyfile(path, manifest.path(name))
        manifest.add(ds, name)


# Objects of pydicom's test files that viewers ask for in a way of their own, by what they are here.
BORROWED = {
    "jpeg2000": "emri_small_jpeg_2k_lossless.dcm", "jpegls": "emri_small_jpeg_ls_lossless.dcm", "rle": "emri_small_RLE.dcm",
    "segmentation": "liver.dcm", "ecg": "waveform_ecg.dcm", "report": "test-SR.dcm", "plan": "rtplan.dcm",
}


def make_viewers(manifest):
    def add(role, ds, study, patient, number=1):
        ds.StudyInstanceUID, ds.SeriesInstanceUID = uid("viewers", study), uid("viewers", study, role)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid("viewers", study, role, number)
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.PatientID, ds.PatientName = patient
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20240229", "101500", "1", f"A-{study}"
        ds.StudyDescription, ds.SeriesDescription, ds.InstanceNumber = f"{study} THORAX", role, number
        name = f"{study}-{role}-{number}.dcm"
        save(ds, manifest.path(name))
        manifest.add(ds, name, role=role, patient_id=ds.PatientID, name=str(ds.PatientName))

    for number in range(1, 6):
        ds = image(CT_IMAGE, "viewers", number, rows=64, bits=16)
        ds.Modality, ds.RescaleIntercept, ds.RescaleSlope = "CT", -1024, 1
        ds.PixelData = np.random.default_rng(number).integers(0, 4096, (64, 64)).astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        add("ct", ds, "CT", ("V1", "VIEWER^CT"), number)
    others = ("V2", "Bildschirm^Jürgen")
    for role, file in BORROWED.items():
        ds = pydicom.dcmread(get_testdata_file(file, download=False))
        ds.SpecificCharacterSet = "ISO_IR 100"
        if ds.file_meta.TransferSyntaxUID.is_encapsulated:
            ds["PixelData"].VR = "OB"  # some of them say OW, which archives correct
        add(role, ds, "OTHER", others)
    ds = image(SECONDARY_CAPTURE, "palette", rows=16, bits=8, character_set=["ISO_IR 100"])
    ds.PhotometricInterpretation, ds.ConversionType = "PALETTE COLOR", "SYN"
    for color in ("Red", "Green", "Blue"):
        setattr(ds, f"{color}PaletteColorLookupTableDescriptor", [4096, 0, 16])
        data = np.random.default_rng(len(color)).integers(0, 65536, 4096).astype("<u2").tobytes()
        setattr(ds, f"{color}PaletteColorLookupTableData", data)
    ds.PixelData = bytes(range(256))
    ds["PixelData"].VR = "OB"
    add("palette", ds, "OTHER", others)
    ds = image("1.2.840.10008.5.1.4.1.1.104.1", "pdf", rows=1, bits=8, character_set=["ISO_IR 100"])
    for keyword in [e.keyword for e in ds.group_dataset(0x0028)]:
        delattr(ds, keyword)
    document = b"%PDF-1.4\n" + np.random.default_rng(0).bytes(20_000)
    ds.Modality, ds.MIMETypeOfEncapsulatedDocument = "DOC", "application/pdf"
    # Of odd length: the pad of the value is no part of the document.
    ds.EncapsulatedDocument, ds.EncapsulatedDocumentLength = document + b"\0", len(document)
    add("pdf", ds, "OTHER", others)
    ds = image("1.2.840.10008.5.1.4.1.1.77.1.4.1", "video", rows=16, bits=8, character_set=["ISO_IR 100"])
    ds.file_meta.TransferSyntaxUID = MPEG4HP41
    ds.Modality, ds.NumberOfFrames, ds.FrameTime = "XC", 25, "40"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_PARTIAL_420", 0
    # One stream over several fragments, which are no frames.
    stream = np.random.default_rng(1).bytes(60_000)
    ds.PixelData = encapsulate([stream[:40_000], stream[40_000:]], has_bot=False)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    add("video", ds, "OTHER", others)


def with_uids(ds, source, content):
    """The file `content`, whose data set is `ds`, with a UID of each kind that it lacks. Elements stay as they are written."""
    keywords = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
    for broken in (ds.get(keyword) for keyword in keywords):
        if broken and not UID(broken).is_valid:
            # Of the same length, so that the file keeps its form.
            mended = f"2.25.{int.from_bytes(broken.encode(), 'big')}"[: len(broken)]
            content = content.replace(broken.encode(), mended.encode())
    lacking = [keyword for keyword in keywords if not ds.get(keyword)]
    if not lacking:
        return content
    for keyword in lacking:
        setattr(ds, keyword, SECONDARY_CAPTURE if keyword == "SOPClassUID" else uid(source, keyword))
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def make_corpus(manifest):
    """Every file that holds an object. The others are told in refused.json, each with the reason."""
    package, data = files("pydicom") / "data", files("data_store") / "data"
    seen, refused = {}, {}
    for folder in (package / "test_files", package / "charset_files", data):
        for path in sorted(folder.rglob("*")):
            source = f"{folder.name}/{path.relative_to(folder)}"
            if not path.is_file():
                continue
            content = path.read_bytes()
            if content[128:132] != b"DICM":
                refused[source] = "no PS3.10 file"
                continue
            ds = pydicom.dcmread(path)
            if "DirectoryRecordSequence" in ds or "TransferSyntaxUID" not in ds.file_meta:
                refused[source] = "a media directory" if "DirectoryRecordSequence" in ds else "no TransferSyntaxUID"
                continue
            content = with_uids(ds, source, content)
            ds = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            instance, digest = str(ds.SOPInstanceUID), hashlib.sha256(content).hexdigest()
            if digest in seen.values():
                refused[source] = "the same bytes as another"
                continue
            while instance in seen:
                # Of the same length, so that the file keeps its form.
                other = instance[:-4] + f"{int(instance[-4:].replace('.', '1')) % 8999 + 1001}"
                assert instance.encode() in content, source
                instance, content = other, content.replace(instance.encode(), other.encode())
            seen[instance] = digest
            ds = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            name = f"{len(seen):03}-{path.stem}.dcm"
            manifest.path(name).write_bytes(content)
            manifest.add(ds, name, source=source)
    (manifest.out / "refused.json").write_text(json.dumps(refused, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["ct", "names", "big", "pydicom", "viewers", "corpus"])
    parser.add_argument("out")
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--variant", default="")
    parser.add_argument("--bytes", type=int, default=2_000_000_000)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    manifest = Manifest(arguments.out)
    if arguments.kind == "ct":
        make_ct(manifest, arguments.slices, arguments.rows, arguments.variant)
    elif arguments.kind == "names":
        make_names(manifest)
    elif arguments.kind == "big":
        make_big(manifest, arguments.bytes)
    elif arguments.kind == "pydicom":
        make_pydicom(manifest)
    elif arguments.kind == "viewers":
        make_viewers(manifest)
    else:
        make_corpus(manifest)
    manifest.write()


if __name__ == "__main__":
    main()
