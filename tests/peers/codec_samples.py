"""Frames that are compressed in every way that peers know, and what they decode them to.

  codec_samples.py OUT    writes codestreams and native frames, and prints what they are, as JSON

CharLS, OpenJPEG, OpenJPH, libjpeg-turbo and libjxl come with imagecodecs; DCMTK's programs write what those do not: each
predictor of lossless JPEG, restarts, each interleave mode of JPEG-LS."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian

JPEG = "1.2.840.10008.1.2.4."
# Rows, columns, samples, bits: odd sizes, thin ones, tiles of more than one block.
SHAPES = [(64, 64, 1, 8), (61, 47, 1, 16), (47, 130, 1, 12), (33, 70, 3, 8), (20, 31, 3, 16), (1, 9, 1, 8), (7, 1, 1, 10), (90, 110, 1, 2)]
random = np.random.default_rng(8)


def picture(rows, columns, samples, bits):
    """Waves with noise, flat places, and both ends of the range."""
    y, x = np.mgrid[0:rows, 0:columns]
    plane = (np.sin(x / 9) + np.cos(y / 7)) / 4 + 0.5 + random.normal(0, 0.02, (rows, columns))
    plane[rows // 2 :, columns // 2 :] = 0.25
    plane[rows // 3, columns // 3 :] = 5
    plane[:, columns // 4] = -5
    if samples == 3:
        plane = np.stack([plane, np.roll(plane, 3, 1), plane[::-1]], -1)
    top = 2**bits - 1
    return np.clip(np.round(plane * top), 0, top).astype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)


class Samples:
    def __init__(self, out):
        self.out, self.entries = Path(out), []

    def add(self, name, syntax, image, bits, codestream, reference, within=0, photometric=None, signed=False, by=None):
        """`by`: the feature without which it is not decoded."""
        rows, columns = image.shape[:2]
        number = len(self.entries)
        (self.out / f"{number}.codestream").write_bytes(bytes(codestream))
        np.ascontiguousarray(reference).astype(image.dtype).tofile(self.out / f"{number}.native")
        self.entries.append({
            "name": name, "syntax": JPEG + syntax, "rows": rows, "columns": columns, "samples": image.shape[2] if image.ndim == 3 else 1,
            # A level of 16 bits is less than what floating point is exact to.
            "bits_allocated": image.dtype.itemsize * 8, "bits_stored": bits, "signed": signed, "within": within * max(1, 2**bits >> 14),
            "photometric": photometric or ("RGB" if image.ndim == 3 else "MONOCHROME2"), "number": number, "by": by,
        })

    def by_imagecodecs(self, image, bits):
        colour, name = image.ndim == 3, "×".join(map(str, image.shape)) + f" of {bits} bits"
        for effort in (1, 4, 7):
            data = imagecodecs.jpegxl_encode(image, lossless=True, effort=effort, bitspersample=bits)
            self.add(f"JPEG XL, effort {effort}, {name}", "110", image, bits, data, image)
        for distance in (0.3, 3) if image.shape[0] > 1 else ():
            data = imagecodecs.jpegxl_encode(image, distance=distance, bitspersample=bits)
            photometric = "XYB" if colour else None
            self.add(f"JPEG XL, lossy, {name}", "112", image, bits, data, imagecodecs.jpegxl_decode(data), 1, photometric)
        if bits == 8:
            for sampling in ("444", "422", "420") if colour else ("444",):
                data = imagecodecs.jpeg8_encode(image, 85, subsampling=sampling)
                asis = {"colorspace": "YCBCR", "outcolorspace": "YCBCR"} if colour else {}
                reference = imagecodecs.jpeg8_decode(data, **asis)
                photometric = "YBR_FULL_422" if colour else None
                self.add(f"JPEG {sampling}, {name}", "50", image, bits, data, reference, 1, photometric)
        if bits == 12 and not colour:
            data = imagecodecs.jpeg8_encode(image, 95, bitspersample=12)
            self.add(f"JPEG, {name}", "51", image, bits, data, imagecodecs.jpeg8_decode(data), 1)
        if bits in (8, 12, 16):
            levels = {"resolutions": 2} if min(image.shape[:2]) > 16 else {}
            for reversible in (True, False):
                data = imagecodecs.jpeg2k_encode(image, 0 if reversible else 60, codecformat="j2k", reversible=reversible,
                                                 bitspersample=bits, mct=colour, **levels)
                photometric = ("YBR_RCT" if reversible else "YBR_ICT") if colour else None
                self.add(f"JPEG 2000, {name}, reversible: {reversible}", "90" if reversible else "91", image, bits, data,
                         imagecodecs.jpeg2k_decode(data), 0 if reversible else 1, photometric)
            for tile in (None, (32, 32)) if min(image.shape[:2]) > 32 else (None,):
                data = imagecodecs.htj2k_encode(image, reversible=True, rgb=colour, tile=tile)
                self.add(f"HTJ2K, {name}, tiles: {tile}", "201", image, bits, data, image, photometric="YBR_RCT" if colour else None)
                if bits == 16:
                    # OpenJPH's decoder makes black of white where rounding goes beyond 16 bits.
                    continue
                data = imagecodecs.htj2k_encode(image, reversible=False, level=0.001, rgb=colour, tile=tile)
                self.add(f"HTJ2K, irreversible, {name}, tiles: {tile}", "203", image, bits, data, imagecodecs.htj2k_decode(data), 1,
                         photometric="YBR_ICT" if colour else None, by="openjpeg")
        if bits > 8 or not colour:
            data = imagecodecs.jpegls_encode(image)
            self.add(f"JPEG-LS, {name}", "80", image, bits, data, image)
            data = imagecodecs.jpegls_encode(image, 2)
            self.add(f"JPEG-LS, near 2, {name}", "81", image, bits, data, imagecodecs.jpegls_decode(data))

    def by_dcmtk(self, image, bits):
        """Each of DCMTK's ways, which all of them say are lossless but JPEG-LS with a deviation."""
        native = self.out / "native.dcm"
        data_set(image, bits).save_as(native)
        ways = [("57", ["dcmcjpeg", "+el", "+sv", str(n)]) for n in range(1, 8)] + [("70", ["dcmcjpeg", "+e1"])]
        if bits >= 8:
            ways += [("80", ["dcmcjpls", "+el", mode]) for mode in ("+il", "+is", "+in")]
            ways += [("81", ["dcmcjpls", "+en", "+md", "2", mode]) for mode in ("+il", "+is", "+in")]
            ways += [("80", ["dcmcjpls", "+el", "+pc", "+t1", "5", "+t2", "9", "+t3", "30", "+rs", "31"])]
        for syntax, (program, *options) in ways:
            compressed, back = self.out / "compressed.dcm", self.out / "back.dcm"
            subprocess.run([program, *options, native, compressed], check=True, capture_output=True)
            ds = pydicom.dcmread(compressed)
            subprocess.run(["dcmdjpls" if "jpls" in program else "dcmdjpeg", compressed, back], check=True, capture_output=True)
            decoded = pydicom.dcmread(back)
            reference = np.frombuffer(decoded.PixelData, image.dtype)[: image.size]
            if decoded.get("PlanarConfiguration"):
                reference = reference.reshape(3, -1).T
            frame = next(generate_frames(ds.PixelData, number_of_frames=1))
            self.add(f"{program} {' '.join(options)} {image.shape} {bits}", syntax, image, bits, frame, reference,
                     photometric=ds.PhotometricInterpretation)


def data_set(image, bits):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    ds = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.2", "2.25.3"
    ds.Rows, ds.Columns = image.shape[:2]
    ds.SamplesPerPixel = image.shape[2] if image.ndim == 3 else 1
    ds.PhotometricInterpretation = "RGB" if image.ndim == 3 else "MONOCHROME2"
    if image.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = image.dtype.itemsize * 8, bits, bits - 1, 0
    data = image.tobytes()
    ds.PixelData = data + bytes(len(data) % 2)
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    return ds


def main():
    warnings.filterwarnings("ignore")
    samples = Samples(sys.argv[1])
    for rows, columns, count, bits in SHAPES:
        image = picture(rows, columns, count, bits)
        samples.by_imagecodecs(image, bits)
        if image.ndim == 2 or bits == 8:
            samples.by_dcmtk(image, bits)
    for bits in (17, 24):
        image = picture(40, 56, 1, bits)
        data = imagecodecs.jpeg2k_encode(image, 0, codecformat="j2k", reversible=True, bitspersample=bits)
        samples.add(f"JPEG 2000 of {bits} bits", "90", image, bits, data, image, by="openjpeg")
    image = picture(40, 56, 3, 8)
    recompressed = imagecodecs.jpegxl_encode_jpeg(imagecodecs.jpeg8_encode(image, 90))
    samples.add("JPEG XL of a JPEG", "111", image, 8, recompressed, imagecodecs.jpegxl_decode(recompressed), 1, "YBR_FULL_422")
    print(json.dumps(samples.entries))


main()
