"""What a hostile archive can try, and what it holds: the bridge trusts it for what it says, and for nothing else."""

import json
import struct
import threading
import time
import zlib

from attack_peers import rawdimse
from attack_peers import CT, DEFLATED, Object, context_for, image, respond, store
from attack_rows import attack
from attack_site import RUDE, Succeeded, digests, stopped
from attack_wire import LOOPBACK, parts

WHO = "Archives, and what they hold"
STUDY = "2.25.51"


def outcome(site, archive, study, **more):
    """How a retrieval ends: a status, "broken off", or the digests of what came whole."""
    reply = site.get(f"/archives/{archive}/studies/{study}", source=LOOPBACK, timeout=60, **more)
    if reply.status != 200:
        return str(reply.status)
    if not reply.whole:
        return "broken off"
    return digests(parts(reply))


@attack(WHO, "Objects with other UIDs, of other patients, twice, in the wrong syntax; fewer than said; garbage")
def rude(site):
    seen = {}
    for name in RUDE:
        for study in site.studies:
            got = outcome(site, name, study)
            if isinstance(got, list):
                stopped(set(got) <= set(site.whole[study]), f"{name}: objects that are not of the study")
                stopped(got == site.whole[study], f"{name}: {len(got)} objects of {len(site.whole[study])} look whole")
                got = "whole"
            seen.setdefault(name, set()).add(got)
        # Searches break visibly, too.
        reply = site.get(f"/archives/{name}/studies", source=LOOPBACK, timeout=60)
        stopped(reply.status != 200 or len(json.loads(reply.body)) == len(site.studies), f"{name}: a search with fewer matches looks whole")
    return "; ".join(f"{name}: {', '.join(sorted(how))}" for name, how in seen.items())


def held(study=STUDY, count=1, data=None, syntax=rawdimse.EXPLICIT_LE, size=1000):
    return [
        Object(study,
               f"{study}.1",
               f"{study}.1.{n}",
               data if data is not None else image(study, f"{study}.1", f"{study}.1.{n}", (0x7FE00010, "OW", bytes(size))),
               syntax=syntax) for n in range(1, count + 1)
    ]


def deflated(data):
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(data) + squeeze.flush()


@attack(WHO, "Bombs: deflate, nesting, lengths, in what an archive holds")
def bombs(site):
    start = image(STUDY, f"{STUDY}.1", f"{STUDY}.1.1")
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeeze.compress(start + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFFE)) + b"".join(
        squeeze.compress(bytes(1 << 20)) for _ in range(1500))
    sequence = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    cases = {
        "deflate": (bomb, DEFLATED),
        "nesting": (start + sequence * 200_000, rawdimse.EXPLICIT_LE),
        "2 GiB in 3 bytes": (start + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0x80000000) + b"abc", rawdimse.EXPLICIT_LE),
        "0xFFFFFFFE": (start + struct.pack("<HH2sHI", 0x0009, 0x1001, b"UN", 0, 0xFFFFFFFE), rawdimse.EXPLICIT_LE),
        "a million elements": (start + b"".join(struct.pack("<HH2sH", 0x0029, 0x1000 + n % 0xEFFF, b"LO", 0)
                                                for n in range(1_000_000)), rawdimse.EXPLICIT_LE),
        "an offset table": (start + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) +
                            struct.pack("<HHI", 0xFFFE, 0xE000, 4_000_000) + bytes([255]) * 4_000_000, "1.2.840.10008.1.2.4.50"),
        "items without end": (start + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) +
                              struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 500_000, "1.2.840.10008.1.2.4.50"),
        "backwards": (image(STUDY, f"{STUDY}.1", f"{STUDY}.1.1") * 2000, rawdimse.EXPLICIT_LE),
        "nothing": (b"", rawdimse.EXPLICIT_LE),
        "names of a character set without end": (start + struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", 60000) + b"\x1b$)C" * 15000,
                                                 rawdimse.EXPLICIT_LE),
    }
    seen = {}
    for what, (data, syntax) in cases.items():
        site.scripted.reset(Object(STUDY, f"{STUDY}.1", f"{STUDY}.1.1", data, syntax=syntax))
        for path in (f"/studies/{STUDY}/metadata", f"/studies/{STUDY}/series/{STUDY}.1/instances/{STUDY}.1.1/frames/1",
                     f"/studies/{STUDY}/series/{STUDY}.1/instances/{STUDY}.1.1/bulkdata/7FE00010", f"/studies/{STUDY}/rendered",
                     f"/studies/{STUDY}"):
            begin = time.monotonic()
            accept = "*/*" if "frames" in path or "bulk" in path or "rendered" in path else None
            reply = site.get(f"/archives/scripted{path}", source=LOOPBACK, timeout=60, accept=accept)
            seen.setdefault(what, []).append(f"{reply.status or 'closed'}" + ("" if reply.whole else " broken off"))
            # What is inflated of a bomb and asked for as bulk data goes to the client, up to 1 GiB.
            stopped(time.monotonic() - begin < (60 if "bulk" in path else 20), f"{what}: {path}: {time.monotonic() - begin:.0f} s")
        site.normal()
        time.sleep(5.1)  # the cache forgets it: the next one has its name
    site.scripted.reset()
    return "; ".join(f"{what}: {', '.join(how)}" for what, how in seen.items())


@attack(WHO, "A match of 4 GB; matches without end; answers that never end")
def endless(site):
    one, seen = held()[0], {}

    def huge(connection, command, _):
        """A match in fragments, none of which is the last."""
        connection.sock.settimeout(10)
        connection.sock.sendall(pending_command(connection, command))
        fragment = struct.pack(">BBIIBB", 4, 0, 16006, 16002, command["context"], 0) + struct.pack("<HHI", 0x0010, 0x4000,
                                                                                                   0xFFFFFFF0) + bytes(15992)
        for _ in range((4 << 30) // 16000):
            connection.sock.sendall(fragment)

    def many(connection, command, keys):
        connection.sock.settimeout(10)
        while True:
            site.scripted.match(connection, command, one, keys.get(0x00080052, "STUDY"), changed={0x00100010: "x" * 60})

    def silent(connection, command, keys):
        site.scripted.match(connection, command, one, keys.get(0x00080052, "STUDY"))
        time.sleep(30)

    def wrong_id(connection, command, _):
        respond(connection, {**command, "message_id": command["message_id"] + 7}, 0)

    def twice(connection, command, keys):
        site.scripted.find(connection, command, keys)
        respond(connection, command, 0)

    def failure(connection, command, _):
        respond(connection, command, 0xA700, comment="<script>alert(1)</script>\r\nX-Evil: 1\x1b[31m")

    def a_store(connection, command, _):
        respond(connection, {**command, "command": 0x0001}, 0)

    def other_level(connection, command, keys):
        site.scripted.match(connection,
                            command,
                            one,
                            "IMAGE" if keys.get(0x00080052) == "STUDY" else "STUDY",
                            changed={0x0020000D: "../../etc\r\nX: 1"})
        respond(connection, command, 0)

    def pending_for_ever(connection, command, _):
        connection.sock.settimeout(10)
        while True:
            respond(connection, command, 0xFF00, b"")

    ways = {
        "4 GB in a match": huge, "matches without end": many, "silence": silent, "a wrong message ID": wrong_id, "two ends": twice,
        "a failure with a script": failure, "an answer of another kind": a_store, "another level": other_level,
        "empty matches without end": pending_for_ever
    }
    for what, way in ways.items():
        site.scripted.reset(one, on_find=way)
        begin = time.monotonic()
        reply = site.get("/archives/scripted/studies", source=LOOPBACK, timeout=100, accept="application/dicom+json")
        seen[what] = reply.status
        stopped("<script>" not in reply.text() and "x-evil" not in reply.fields and "\x1b" not in reply.text(),
                f"{what}: {reply.text()[:300]}")
        # A UID that is none stands there as the archive said it, and leads nowhere (Retrieve URL, 0008,1190).
        fine = what == "two ends" or (what == "another level" and "00081190" not in reply.text())
        stopped(reply.status != 200 or fine, f"{what}: {reply.status} {reply.text()[:300]}")
        stopped(time.monotonic() - begin < 90, f"{what}: {time.monotonic() - begin:.0f} s")
        site.normal()
    site.scripted.reset()
    return ", ".join(f"{what} {status or 'closed'}" for what, status in seen.items())


def pending_command(connection, command):
    body = rawdimse.command_set(sop_class=command["sop_class"],
                                command=0x8020,
                                responding_to=command["message_id"],
                                data_set=1,
                                status=0xFF00)
    return struct.pack(">BBIIBB", 4, 0, len(body) + 6, len(body) + 2, command["context"], 3) + body


@attack(WHO, "An object of 64 GB; objects without end; success before the first; numbers that lie")
def retrievals(site):
    ours, seen = held(count=3), {}

    def endless_object(connection, command, _):
        one = ours[0]
        connection.sock.settimeout(10)
        request = rawdimse.command_set(sop_class=CT, command=1, message_id=1, priority=0, data_set=1, sop_instance=one.instance)
        context = context_for(connection, one)
        connection.sock.sendall(struct.pack(">BBIIBB", 4, 0, len(request) + 6, len(request) + 2, context, 3) + request)
        begin = image(STUDY, f"{STUDY}.1", one.instance) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFFE)
        connection.sock.sendall(struct.pack(">BBIIBB", 4, 0, len(begin) + 6, len(begin) + 2, context, 0) + begin)
        fragment = struct.pack(">BBIIBB", 4, 0, 65006, 65002, context, 0) + bytes(65000)
        until = time.monotonic() + 8
        while time.monotonic() < until:
            connection.sock.sendall(fragment)
        connection.sock.close()

    def endless_objects(connection, command, _):
        connection.sock.settimeout(10)
        until = time.monotonic() + 8
        number = 0
        while time.monotonic() < until:
            number += 1
            store(connection, Object(STUDY, f"{STUDY}.1", f"{STUDY}.9.{number}", image(STUDY, f"{STUDY}.1", f"{STUDY}.9.{number}")),
                  number % 60000)
            connection.message()
        respond(connection, command, 0, completed=number % 65536, failed=0, warning=0)

    def success_first(connection, command, _):
        respond(connection, command, 0, completed=3, failed=0, warning=0)

    def one_of_three(connection, command, _):
        store(connection, ours[0], 1)
        connection.message()
        respond(connection, command, 0, completed=3, failed=0, warning=0)

    def anothers(connection, command, _):
        for number, one in enumerate(ours, 1):
            store(connection, Object("2.25.52", "2.25.52.1", one.instance, image("2.25.52", "2.25.52.1", one.instance)), number)
            connection.message()
        respond(connection, command, 0, completed=3, failed=0, warning=0)

    def two_faces(connection, command, _):
        # The command names one object, the data set is another.
        for number, one in enumerate(ours, 1):
            store(connection, Object(STUDY, f"{STUDY}.1", one.instance, image(STUDY, f"{STUDY}.1", "2.25.53.1")), number)
            connection.message()
        respond(connection, command, 0, completed=3, failed=0, warning=0)

    def cut(connection, command, _):
        # The last fragment comes in the middle of an element.
        for number, one in enumerate(ours, 1):
            store(connection, Object(STUDY, f"{STUDY}.1", one.instance, one.data[:-500]), number)
            connection.message()
        respond(connection, command, 0, completed=3, failed=0, warning=0)

    for what, way in {
            "an object without end": endless_object, "objects without end": endless_objects, "success before the first": success_first,
            "one of three": one_of_three, "another's objects": anothers, "two UIDs": two_faces
    }.items():
        site.scripted.reset(*ours, on_get=way)
        got = outcome(site, "scripted", STUDY)
        stopped(not isinstance(got, list), f"{what}: {len(got)} objects look whole")
        seen[what] = got
        site.normal()
    site.scripted.reset(*ours, on_get=cut)
    got = outcome(site, "scripted", STUDY)
    seen["objects that end too soon"] = "as they came" if isinstance(got, list) else got
    site.scripted.reset()
    return ", ".join(f"{what}: {how}" for what, how in seen.items())


@attack(WHO, "An A-ASSOCIATE-AC that lies: contexts of nobody, syntaxes of nobody, other titles, 4 GB")
def accepts(site):

    def ac(make):

        def answer(connection, body):
            connection.sock.settimeout(10)
            connection.sock.sendall(make(body))
            time.sleep(6)

        return answer

    def pdu(kind, body):
        return struct.pack(">BBI", kind, 0, len(body)) + body

    def with_contexts(*contexts):
        return lambda body: pdu(
            2, body[:68] + rawdimse.item(0x10, rawdimse.APPLICATION_CONTEXT) + b"".join(contexts) + rawdimse.user_information())

    good = rawdimse.item(0x40, rawdimse.IMPLICIT_LE.encode())
    ways = {
        "contexts of nobody": with_contexts(*(rawdimse.item(0x21,
                                                            bytes([n, 0, 0, 0]) + good) for n in range(251, 256))),
        "even contexts": with_contexts(rawdimse.item(0x21,
                                                     bytes([2, 0, 0, 0]) + good)),
        "each twice": with_contexts(*(rawdimse.item(0x21,
                                                    bytes([1, 0, 0, 0]) + good) for _ in range(300))),
        "a syntax of nobody": with_contexts(rawdimse.item(0x21,
                                                          bytes([1, 0, 0, 0]) + rawdimse.item(0x40, b"1.2.3.4"))),
        "no contexts": with_contexts(),
        "4 GB": lambda _: b"\2\0\xff\xff\xff\xff" + bytes(100_000),
        "a PDU of 1 MiB": lambda _: pdu(2, bytes(1 << 20)),
        "a maximum of 1": lambda body: pdu(2, body[:68] + rawdimse.item(0x50, rawdimse.item(0x51, b"\0\0\0\1"))),
        "items without end": lambda body: pdu(2, body[:68] + rawdimse.item(0x77, b"") * 60_000),
        "itself": lambda body: pdu(1, body),
        "data": lambda _: pdu(4, bytes(100)),
        "a rejection of no kind": lambda _: pdu(3, b"\xff\xff\xff\xff"),
        "a release": lambda _: pdu(5, bytes(4)),
        "an abort of no kind": lambda _: pdu(7, b"\xff\xff\xff\xff"),
    }
    seen = {}
    for what, way in ways.items():
        site.scripted.reset(on_associate=ac(way))
        begin = time.monotonic()
        reply = site.get("/archives/scripted/studies", source=LOOPBACK, timeout=30)
        seen.setdefault(reply.status, []).append(what)
        stopped(reply.status in (501, 502, 503, 504), f"{what}: {reply.status}")
        stopped(time.monotonic() - begin < 15, f"{what}: {time.monotonic() - begin:.0f} s")
    site.scripted.reset()
    return "; ".join(f"{status}: {', '.join(what)}" for status, what in seen.items())


@attack(WHO, "Archives that send each other's objects into a C-MOVE that waits, from the same address")
def associates_back(site):
    ways, done = set(), threading.Event()

    def call():
        while not done.is_set():
            for title in ("SCRIPTED", "PACS", "SINK"):
                try:
                    association = site.associate(calling=title, contexts=[(CT, [rawdimse.EXPLICIT_LE])])
                    association.request(CT, rawdimse.C_STORE_RQ, image(site.study, "2.25.61.1", "2.25.61.2"), sop_instance="2.25.61.2")
                    ways.add(f"{title} {association.message()[0]['status']:04X}")
                    association.sock.close()
                except (rawdimse.Refused, OSError, TypeError):
                    ways.add(f"{title} refused")

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for study in site.studies:
            if sorted(site.objects("slowmover", study)) != site.whole[study]:
                raise Succeeded("an object of another archive is in the answer")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    stopped(not any(way.endswith(" 0000") for way in ways), f"{ways}")
    return f"{', '.join(sorted(ways))}; what moves meanwhile is whole"
