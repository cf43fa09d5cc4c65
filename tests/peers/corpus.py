"""What a file says, as pydicom reads it, and what DICOM JSON or Native XML says, in one form that can be compared.

The form of a data set is {path: (VR, value)}, a path being tags and item numbers such as ("00081140", 1, "00081155")."""

import base64
import io
import math
import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import pydicom
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.encaps import generate_frames

# VR: bytes of a word.
WORDS = {"OB": 1, "UN": 1, "OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
ONE_TEXT = {"LT", "ST", "UT", "UR"}
IN_CHARACTER_SET = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}
CHARACTER_SET = ("00080005",)
PIXEL_DATA = {("7FE00010",), ("7FE00008",), ("7FE00009",)}


@dataclass(frozen=True)
class Bulk:
    """A value that stands elsewhere."""

    uri: str


def read(file):
    """What pydicom reads, and its form."""
    ds = pydicom.dcmread(file)
    form = of_file(ds)
    if ("7FE00010",) in form and ds.file_meta.TransferSyntaxUID.is_encapsulated:
        # Offset tables may be written anew.
        form["7FE00010",] = (form["7FE00010",][0], b"".join(fragments_of(ds)))
    elif ("7FE00010",) in form and not ds.file_meta.TransferSyntaxUID.is_little_endian:
        form["7FE00010",] = (form["7FE00010",][0], swapped(ds.PixelData, cell_of(ds)))
    return ds, form


def text_of(value, several=True):
    """Text values without the blanks that do not count (PS3.5 6.2)."""
    if not several:
        return [value.rstrip(" \0")] if value.strip(" \0") else []
    values = [piece.strip(" \0") for piece in value.split("\\")]
    return values if any(values) else []


def number_of(text):
    """A number that keeps every digit; text that is none stays text."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return number if number.is_finite() else text


def of_file(ds):
    """The form of a data set that pydicom read from a file, from the bytes that the file has."""
    found, left = {}, [((), ds, ["ascii"])]
    while left:
        path, ds, encodings = left.pop()
        if ds.get("SpecificCharacterSet"):
            encodings = convert_encodings(ds.SpecificCharacterSet)
        for tag in ds.keys():
            here, raw, element = (*path, f"{int(tag):08X}"), ds.get_item(tag), ds[tag]
            if tag.element == 0:
                continue  # group lengths belong to the encoding
            if element.VR == "SQ":
                found[here] = ("SQ", len(element.value))
                left.extend(((*here, n), item, encodings) for n, item in enumerate(element.value, 1))
            elif isinstance(raw, pydicom.dataelem.RawDataElement):
                # An element whose VR the file does not tell: the standard's are known, those of vendors are not.
                untold = raw.VR in (None, "UN") and tag.is_private and not tag.is_private_creator
                vr = "UN" if untold else element.VR
                found[here] = (vr, value_of(vr, raw.value or b"", raw.is_little_endian, encodings))
            else:
                # The few that pydicom has to look at while it reads, such as Pixel Representation.
                several = isinstance(element.value, (list, pydicom.multival.MultiValue))
                values = [] if element.is_empty else list(element.value) if several else [element.value]
                found[here] = (element.VR, values)
    return found


def value_of(vr, data, little, encodings):
    """The value of an element that is no sequence, from its bytes."""
    if vr in WORDS:
        return swapped(data, 1 if little else WORDS[vr])
    if vr in NUMBERS:
        form = ("<" if little else ">") + NUMBERS[vr]
        size = struct.calcsize(form)
        return [plain(n) for (n,) in struct.iter_unpack(form, data[: len(data) // size * size])]
    if vr == "AT":
        pairs = struct.iter_unpack(("<" if little else ">") + "HH", data[: len(data) // 4 * 4])
        return [f"{group:04X}{element:04X}" for group, element in pairs]
    if vr in IN_CHARACTER_SET:
        delimiters = {ord("^"), ord("=")} if vr == "PN" else {ord("\\"), 10, 12, 13} if vr not in ONE_TEXT else {10, 12, 13}
        if vr == "PN":
            people = pydicom.values.convert_PN(data, encodings)
            people = people if isinstance(people, pydicom.multival.MultiValue) else [people]
            names = [person_of(str(p)) for p in people]
            return names if any(names) else []
        text = "\\".join(decode_bytes(piece, encodings, delimiters) for piece in pieces_of(data, encodings)) if vr not in ONE_TEXT \
            else decode_bytes(data, encodings, delimiters)
    else:
        text = data.decode("latin-1")
    values = text_of(text, vr not in ONE_TEXT)
    return [number_of(v) for v in values] if vr in ("IS", "DS") else values


def pieces_of(data, encodings):
    """Values apart. In the multi-byte sets without escapes a backslash may be half a character."""
    if encodings[0] in ("GB18030", "GBK", "gb18030", "gbk"):
        return [piece.encode(encodings[0]) for piece in data.decode(encodings[0], "replace").split("\\")]
    return data.split(b"\\")


def person_of(name):
    """A person name, without what stands empty at the ends of its component groups."""
    groups = [group.strip(" \0").rstrip("^") for group in name.split("=")]
    groups = ["^".join(component.strip(" ") for component in group.split("^")) for group in groups]
    return "=".join(groups).rstrip("=")


def plain(number):
    return "NaN" if isinstance(number, float) and math.isnan(number) else number


def swapped(data, size):
    if size == 1:
        return data
    return b"".join(data[at : at + size][::-1] for at in range(0, len(data), size))


def of_json(model):
    """The form of one data set in DICOM JSON (PS3.18 F.2), as json.loads with parse_float=Decimal gives it."""
    found, left = {}, [((), model)]
    while left:
        path, ds = left.pop()
        for tag, element in ds.items():
            here, vr = (*path, tag), element["vr"]
            assert len(element) <= 2, f"{here}: {sorted(element)}"
            if "BulkDataURI" in element:
                found[here] = (vr, Bulk(element["BulkDataURI"]))
            elif vr == "SQ":
                items = element.get("Value", [])
                found[here] = ("SQ", len(items))
                left.extend(((*here, n), item) for n, item in enumerate(items, 1))
            elif vr in WORDS:
                found[here] = (vr, base64.b64decode(element.get("InlineBinary", ""), validate=True))
            else:
                found[here] = (vr, [value_in_json(vr, v) for v in element.get("Value", [])])
    return found


def value_in_json(vr, value):
    if vr == "PN":
        groups = (value or {}).get
        return person_of("=".join((groups("Alphabetic", ""), groups("Ideographic", ""), groups("Phonetic", ""))))
    if vr in NUMBERS:
        return number_in_text(vr, value)
    if value is None:
        return ""
    if vr in ("IS", "DS"):
        return number_of(str(value))
    # What does not count is not what this is about.
    return value.rstrip(" \0") if vr in ONE_TEXT else value.strip(" \0")


def number_in_text(vr, value):
    if vr in ("FL", "FD"):
        number = float(value)
        return plain(float(np.float32(number)) if vr == "FL" else number)
    return int(value)


def of_xml(text):
    """The form of one data set in the Native DICOM Model (PS3.19 A.1)."""
    root = ET.fromstring(text)
    space = root.tag.removesuffix("NativeDicomModel")
    found, left = {}, [((), root)]
    while left:
        path, ds = left.pop()
        blocks = blocks_of(ds, space)
        for node in ds:
            here, vr = (*path, tag_of(node, blocks)), node.get("vr")
            children = {child.tag.removeprefix(space): child for child in node}
            if "BulkData" in children:
                found[here] = (vr, Bulk(children["BulkData"].get("uri")))
            elif vr == "SQ":
                items = sorted(node, key=lambda item: int(item.get("number")))
                found[here] = ("SQ", len(items))
                left.extend(((*here, n), item) for n, item in enumerate(items, 1))
            elif vr in WORDS:
                binary = children.get("InlineBinary")
                found[here] = (vr, base64.b64decode(binary.text or "", validate=True) if binary is not None else b"")
            else:
                values = {int(child.get("number")): child for child in node}
                every = [values.get(n) for n in range(1, max(values, default=0) + 1)]
                found[here] = (vr, [value_in_xml(vr, v, space) for v in every])
    return found


def blocks_of(ds, space):
    """{(group, private creator): its block}, as the elements say by which creators reserve them (PS3.5 7.8.1)."""
    nodes = [node for node in ds if not node.get("privateCreator") and node.get("tag")[4:6] == "00"]
    creators = [(node.get("tag"), node.findtext(f"{space}Value") or "") for node in nodes if int(node.get("tag")[:4], 16) % 2]
    return {(tag[:4], creator): tag[6:] for tag, creator in reversed(creators)}


def tag_of(node, blocks):
    """The tag as it stands in the file. In the model, private ones have no block, but their creator's name."""
    tag, creator = node.get("tag"), node.get("privateCreator")
    if creator is None:
        return tag
    assert tag[4:6] == "00", f"{tag} of {creator}"
    return tag[:4] + blocks[tag[:4], creator] + tag[6:]


def value_in_xml(vr, node, space):
    if node is None:
        return "" if vr not in NUMBERS else None
    if vr == "PN":
        groups = []
        for kind in ("Alphabetic", "Ideographic", "Phonetic"):
            group = node.find(space + kind)
            names = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
            groups.append("^".join("" if group is None else group.findtext(space + n) or "" for n in names))
        return person_of("=".join(groups))
    text = node.text or ""
    if vr in NUMBERS:
        return number_in_text(vr, text)
    if vr in ("IS", "DS"):
        return number_of(text.strip())
    return text.rstrip(" \0") if vr in ONE_TEXT else text.strip(" \0")


def frames_of(ds):
    """What pydicom cuts: [frame], encapsulated or native. None where there are no pixels."""
    keyword = next((k for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in ds), None)
    if keyword is None or not ds[keyword].value:
        return None
    data, count = ds[keyword].value, int(ds.get("NumberOfFrames") or 1)
    if ds.file_meta.TransferSyntaxUID.is_encapsulated:
        extended = None
        if ds.get("ExtendedOffsetTable") and ds.get("ExtendedOffsetTableLengths"):
            extended = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
        return list(generate_frames(data, number_of_frames=count, extended_offsets=extended))
    if "Rows" not in ds:
        return None
    if not ds.file_meta.TransferSyntaxUID.is_little_endian:
        data = swapped(data, cell_of(ds) if keyword == "PixelData" else WORDS[ds[keyword].VR])
    bits = int(ds.Rows) * int(ds.Columns) * int(ds.SamplesPerPixel) * bits_allocated(ds, keyword)
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        bits = bits // 3 * 2
    if bits % 8 == 0:
        return [data[n * bits // 8 : (n + 1) * bits // 8] for n in range(count)]
    # Frames of single bits follow each other without a gap.
    every = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return [np.packbits(every[n * bits : (n + 1) * bits], bitorder="little").tobytes() for n in range(count)]


def cell_of(ds):
    """The bytes that change places in big endian pixel data. pydicom takes cells of 32 bits whole, though OW are words of 16."""
    return max(2, int(ds.BitsAllocated) // 8) if ds["PixelData"].VR == "OW" else 1


def fragments_of(ds):
    """The fragments of encapsulated pixel data, without their Basic Offset Table."""
    buffer = io.BytesIO(ds.PixelData)
    pydicom.encaps.parse_basic_offsets(buffer)
    return list(pydicom.encaps.generate_fragments(buffer))


def bits_allocated(ds, keyword):
    return {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(keyword) or int(ds.BitsAllocated)

