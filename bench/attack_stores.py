"""What a web client can try with what it stores: bombs, foreign UIDs, URLs and entities, bodies in odd parts."""

import json
import socket
import struct
import time
import zlib

from attack_peers import image, part10
from attack_rows import attack
from attack_site import Succeeded, stopped
from attack_wire import LOOPBACK, multipart

WHO = "Web clients"


@attack(WHO, "A BulkDataURI that names an inner server or file (SSRF); XML entities")
def ssrf(site):
    inside = socket.create_server((LOOPBACK, 0))
    inside.settimeout(0.2)
    urls = [
        f"http://{LOOPBACK}:{inside.getsockname()[1]}/secret", "file:///etc/passwd", "/etc/passwd", "gopher://127.0.0.1:1/",
        "\\\\host\\share"
    ]
    seen = []
    for url in urls:
        document = [{
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}, "00080018": {"vr": "UI", "Value": ["2.25.9.1.1"]},
            "0020000D": {"vr": "UI", "Value": ["2.25.9"]}, "0020000E": {"vr": "UI", "Value": ["2.25.9.1"]},
            "00420011": {"vr": "OB", "BulkDataURI": url}
        }]
        kind, body = multipart(json.dumps(document).encode(), kind="application/dicom+json")
        seen.append(site.get("/dicom-web/studies", "sender", method="POST", more=kind, body=body, accept="application/dicom+json"))
    lol = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    for entity in ('<!ENTITY x SYSTEM "file:///etc/passwd">', f'<!ENTITY x SYSTEM "{urls[0]}">',
                   f'<!ENTITY a0 "x">{lol}<!ENTITY x "&a11;">', f'<!ENTITY % p SYSTEM "{urls[0]}"> %p;'):
        attribute = '<DicomAttribute tag="00100010" vr="LO"><Value number="1">&x;</Value></DicomAttribute>'
        document = f'<!DOCTYPE NativeDicomModel [{entity}]><NativeDicomModel>{attribute}</NativeDicomModel>'
        kind, body = multipart(document.encode(), kind="application/dicom+xml")
        seen.append(site.get("/dicom-web/studies", "sender", method="POST", more=kind, body=body, accept="application/dicom+json"))
    stopped(all(400 <= reply.status < 500 and "root:" not in reply.text() for reply in seen), f"{[reply.status for reply in seen]}")
    try:
        inside.accept()
        raise Succeeded("somebody was called by a URL of a client")
    except TimeoutError:
        pass
    return f"{sorted({reply.status for reply in seen})}; nobody is called, no file is read"


@attack(WHO, "Storing hostile objects: bombs, nesting, lengths, UIDs with line ends")
def hostile_objects(site):
    uid = "2.25.4711"
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(1500))
    start = image(uid, uid + ".1", uid + ".2")
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = bomb.compress(start + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFFE)) + zeros
    nest = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)

    def tail(length, vr=b"OB", value=b"abc"):
        return struct.pack("<HH2sHI", 0x7FE0, 0x0010, vr, 0, length) + value

    cases = {
        "a deflate bomb": part10(bomb, uid + ".2", syntax="1.2.840.10008.1.2.1.99"),
        "not deflated at all": part10(b"\xff" * 5000, uid + ".2", syntax="1.2.840.10008.1.2.1.99"),
        "100,000 sequences in each other": part10(start + nest * 100_000, uid + ".2"),
        "a length of 0xFFFFFFFE": part10(start + tail(0xFFFFFFFE), uid + ".2"),
        "of 2 GiB": part10(start + tail(0x80000000), uid + ".2"),
        "an odd length": part10(start + tail(3), uid + ".2"),
        "undefined, of text": part10(start + tail(0xFFFFFFFF, b"UT"), uid + ".2"),
        "a UID with line ends": part10(image(uid + "\r\nX: 1", uid + ".1", uid + ".2"), uid + ".2"),
        "another UID in its head": part10(start, uid + ".3"),
        "a UID of 5,000 characters": part10(image("1." * 2500, uid + ".1", uid + ".2"), uid + ".2"),
        "a UID that is a path": part10(image("../../../etc/passwd", uid + ".1", uid + ".2"), uid + ".2"),
        "two UIDs in one": part10(image(uid + "\\" + site.study, uid + ".1", uid + ".2"), uid + ".2"),
        "its UID twice": part10(start + image(site.study, uid + ".1", uid + ".2"), uid + ".2"),
        "no UIDs": part10(b"", uid + ".2"),
        "an empty part": b"",
        "no file": b"MZ" * 5000,
        "a head alone": bytes(128) + b"DICM",
        "a head of 4 GiB": bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, 0xFFFFFFFF) +
        struct.pack("<HH2sHI", 2, 1, b"OB", 0, 0xFFFFFFF0),
        "a syntax with line ends": part10(start, uid + ".2", syntax="1.2.840\r\nX: 1"),
        "a private syntax": part10(start, uid + ".2", syntax="1.2.3.4.5"),
        "a class with line ends": part10(image(uid, uid + ".1", uid + ".2", sop_class="1.2\r\n3"), uid + ".2", sop_class="1.2\r\n3"),
    }
    seen = {}
    for what, data in cases.items():
        kind, body = multipart(data)
        begin = time.monotonic()
        reply = site.get("/dicom-web/studies", "sender", method="POST", more=kind, body=body, accept="application/dicom+json")
        seen[what] = reply.status
        stopped(reply.status < 500 or reply.status == 503, f"{what}: {reply.status} {reply.text()[:300]}")
        stopped("X: 1" not in reply.head, f"{what}: a header field is written")
        stopped(time.monotonic() - begin < 15, f"{what}: {time.monotonic() - begin:.1f} s")
    stored = site.get(f"/dicom-web/instances?StudyInstanceUID={uid}", "sender")
    listed = len(json.loads(stored.body)) if stored.status == 200 else 0
    return ", ".join(f"{what} {status or 'closed'}" for what, status in seen.items()) + f"; {listed} of them stored"


@attack(WHO, "Multipart bodies of nothing, of boundaries, without end")
def multiparts(site):
    kind = 'Content-Type: multipart/related; type="application/dicom"; boundary='
    cases = {
        "an empty boundary": ('""', b"----\r\n"),
        "a boundary of 5,000": ("a" * 5000, b""),
        "boundaries alone": ("b", b"--b\r\n" * 100_000),
        "a preamble of 1 MB": ("b", b"x" * (1 << 20)),
        "fields without end": ("b", b"--b\r\n" + b"A: b\r\n" * 100_000),
        "a line of 1 MB": ("b", b"--b\r\nA: " + b"x" * (1 << 20)),
        "empty parts": ("b", b"--b\r\n\r\n\r\n" * 50_000 + b"--b--\r\n"),
        "parts in parts": ("b", b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n--c--\r\n--b--\r\n"),
        "an encoding of bombs": ("b\r\nContent-Encoding: gzip", b"\x1f\x8b" + bytes(100)),
        "nothing": ("b", b""),
        "no end": ("b", b"--b\r\n\r\nabc"),
    }
    seen = {}
    for what, (boundary, body) in cases.items():
        reply = site.get("/dicom-web/studies",
                         "sender",
                         method="POST",
                         more=f"{kind}{boundary}\r\n",
                         body=body,
                         accept="application/dicom+json")
        seen[what] = reply.status
        stopped(reply.status == 0 or 400 <= reply.status < 500, f"{what}: {reply.status} {reply.text()[:200]}")
    return ", ".join(f"{what} {status or 'closed'}" for what, status in seen.items())


@attack(WHO, "Metadata to be stored: deep, wide, of the wrong types, its bulk data in circles")
def metadata(site):
    base = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}, "00080018": {"vr": "UI", "Value": ["2.25.72.2"]},
        "0020000D": {"vr": "UI", "Value": ["2.25.72"]}, "0020000E": {"vr": "UI", "Value": ["2.25.72.1"]}
    }

    def with_(**more):
        return json.dumps([{**base, **{tag.lstrip("t"): value for tag, value in more.items()}}])

    start, uri = json.dumps([base])[:-2], "cid:one"
    nest = '{"00400275":{"vr":"SQ","Value":['
    documents = {
        "lists in lists": "[" * 500_000,
        "sequences in sequences": f'{start},"00400275":{{"vr":"SQ","Value":[{nest * 20_000}',
        "300,000 elements": start + "".join(f',"{0x00290000 + n:08X}":{{"vr":"LO"}}' for n in range(300_000)) + "}]",
        "3,000,000 values": f'{start},"00291001":{{"vr":"US","Value":[{"1," * 3_000_000}1]}}}}]',
        "not text": "\udcff\udcfe" * 100,
        "a number without end": f'{start},"00291001":{{"vr":"FD","Value":[1e99999]}}}}]',
        "twice the same": f"{start},{json.dumps(base)[1:]}]",
        "a number of digits": f'{start},"00291001":{{"vr":"UL","Value":[{"9" * 100_000}]}}}}]',
        "half a pair": start + ',"00100010":{"vr":"PN","Value":["\\ud800"]}}]',
        "objects for values": with_(t00100020={"vr": "LO", "Value": [{"a": 1}]}),
        "a list for a VR": with_(t00100020={"vr": ["LO"], "Value": ["1"]}),
        "no VR": with_(t00100020={"Value": ["1"]}),
        "a VR of nobody": with_(t00100020={"vr": "ZZ", "Value": ["1"]}),
        "a tag of nobody": with_(tXYZ={"vr": "LO", "Value": ["1"]}),
        "a group length": with_(t00080000={"vr": "UL", "Value": [4294967295]}),
        "File Meta": with_(t00020010={"vr": "UI", "Value": ["1.2.840.10008.1.2.1.99"]}),
        "bad base64": with_(t00291001={"vr": "OB", "InlineBinary": "?" * 1000}),
        "a value and a URI": with_(t00291001={"vr": "OB", "InlineBinary": "AAAA", "BulkDataURI": uri}),
        "a URI of nobody": with_(t00291001={"vr": "OB", "BulkDataURI": uri}),
        "a URI a thousand times": json.dumps([{**base, **{f"{0x00290000 + n:08X}": {"vr": "OB", "BulkDataURI": uri} for n in range(1000)}}]),
        "line ends in UIDs": with_(t0020000D={"vr": "UI", "Value": ["2.25.72\r\nX: 1"]}),
        "null": "[null]",
        "a number": "7",
        "nothing": "",
        "null UIDs": with_(t0020000D={"vr": "UI", "Value": [None]}),
        "1,000 instances of one UID": json.dumps([base] * 1000),
    }
    seen = {}
    for what, document in documents.items():
        kind, body = multipart(document.encode(errors="surrogateescape"), kind="application/dicom+json")
        begin = time.monotonic()
        reply = site.get("/dicom-web/studies", "sender", method="POST", more=kind, body=body, accept="application/dicom+json", timeout=60)
        seen.setdefault(reply.status, []).append(what)
        stopped(reply.status < 500, f"{what}: {reply.status} {reply.text()[:300]}")
        stopped(time.monotonic() - begin < 30, f"{what}: {time.monotonic() - begin:.0f} s")
    deep = '<NativeDicomModel>' + '<DicomAttribute tag="00400275" vr="SQ"><Item number="1">' * 50_000
    kind, body = multipart(deep.encode(), kind="application/dicom+xml")
    reply = site.get("/dicom-web/studies", "sender", method="POST", more=kind, body=body, accept="application/dicom+json")
    stopped(400 <= reply.status < 500, f"XML: {reply.status}")
    return "; ".join(f"{status or 'closed'}: {', '.join(what)}" for status, what in sorted(seen.items()))
