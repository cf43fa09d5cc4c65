"""What a DIMSE peer can try."""

import random
import socket
import ssl
import struct
import threading
import time

from attack_peers import rawdimse
from attack_peers import CT, Bound, Object, image, respond
from attack_rows import attack
from attack_site import Succeeded, digests, stopped
from attack_wire import ATTACKER, LOOPBACK, drain, parts, plain

WHO = "DIMSE peers"
ECHO = (rawdimse.VERIFICATION, [rawdimse.IMPLICIT_LE])
FIND = (rawdimse.STUDY_ROOT_FIND, [rawdimse.IMPLICIT_LE])
MOVE = (rawdimse.STUDY_ROOT_MOVE, [rawdimse.IMPLICIT_LE])
GET = (rawdimse.STUDY_ROOT_GET, [rawdimse.IMPLICIT_LE])
CTS = (CT, [rawdimse.EXPLICIT_LE])
PRINT = ("1.2.840.10008.5.1.1.9", [rawdimse.IMPLICIT_LE])
PRIVATE = ("1.2.3.4.5.6", [rawdimse.IMPLICIT_LE])
COMMITMENT = ("1.2.840.10008.1.20.1", [rawdimse.IMPLICIT_LE])


def refused(site, **more):
    """The reason of a rejection, or how else the association did not come about."""
    try:
        site.associate(**more)
    except rawdimse.Refused as error:
        return str(error)
    except OSError as error:
        return type(error).__name__
    raise Succeeded(f"an association was accepted: {more}")


def rejection(text):
    """The result, source and reason of an A-ASSOCIATE-RJ, as rawdimse reports it."""
    if "type 3" in text:
        return "/".join(str(byte) for byte in bytes.fromhex(text.rpartition(", ")[2])[1:4])
    return "A-ABORT" if "type 7" in text else text


@attack(WHO, "A foreign calling title")
def foreign_title(site):
    seen = {
        rejection(refused(site, calling=calling, source=source))
        for calling, source in (("NOBODY", LOOPBACK), ("", LOOPBACK), ("ct1", LOOPBACK), ("CT1", ATTACKER), ("CT1\n", LOOPBACK),
                                ("CT1\0evil", LOOPBACK), ("%s%n", LOOPBACK))
    }
    stopped(seen <= {"1/1/3", "1/1/7", "A-ABORT"}, f"rejected by {seen}")
    return f"rejected ({', '.join(sorted(seen))}), a listed title from another network too"


@attack(WHO, "A foreign called title")
def foreign_called(site):
    seen = {rejection(refused(site, called=called)) for called in ("OTHER", "gantry", "STATUS", "\r\nGANTRY")}
    stopped(seen <= {"1/1/7", "A-ABORT"}, f"rejected by {seen}")
    return f"rejected ({', '.join(sorted(seen))})"


@attack(WHO, "A listed client asks for what is not its business")
def not_its_business(site):
    association = site.associate(contexts=[ECHO, FIND, MOVE, GET, PRINT, CTS])
    got = {abstract for abstract, _ in association.accepted.values()}
    stopped(got == {rawdimse.VERIFICATION, rawdimse.STUDY_ROOT_FIND, CT}, f"accepted: {got}")
    # A request of what was refused, in a context that was accepted.
    association.send(
        1, {"sop_class": rawdimse.STUDY_ROOT_MOVE, "command": rawdimse.C_MOVE_RQ, "message_id": 7, "priority": 0, "destination": "CT1"},
        rawdimse.identifier({0x00080052: "STUDY", 0x0020000D: site.study}))
    try:
        command, _ = association.message()
        status = command["status"]
        stopped(status not in (0, *rawdimse.PENDING), f"status {status:04X}")
        how = f"status {status:04X}"
    except (rawdimse.Refused, TypeError):
        how = "A-ABORT"
    # An archive that it may not reach.
    try:
        other = site.associate(called="SLOWMOVER")
        matches, final = other.find({0x00080052: "STUDY", 0x0020000D: ""})
        stopped(final["status"] != 0 and not matches, "another archive was searched")
        elsewhere = f"status {final['status']:04X}"
    except rawdimse.Refused as error:
        elsewhere = rejection(str(error))
    return f"its contexts are refused, a C-MOVE in another's context gets {how}, another archive {elsewhere}"


@attack(WHO, "A class that is passed on unread carries what its client may not do")
def unread(site):
    for calling in ("CT1", "READER"):
        try:
            association = site.associate(calling=calling, contexts=[PRIVATE, PRINT, ("1.2.840.10008.5.1.4.38.1", [rawdimse.IMPLICIT_LE])])
            got = {abstract for abstract, _ in association.accepted.values()}
            stopped(PRIVATE[0] not in got and PRINT[0] not in got, f"{calling}: {got}")
            association.sock.close()
        except rawdimse.Refused:
            pass
    return "contexts of private classes and print are refused"


@attack(WHO, "Somebody calls by an archive's title")
def archives_title(site):
    seen = {rejection(refused(site, calling=title, source=ATTACKER, contexts=[CTS, ECHO])) for title in ("PACS", "SLOWMOVER", "GANTRY")}
    return f"from elsewhere than the archive: {', '.join(sorted(seen))}"


@attack(WHO, "A client that may only retrieve stores in the contexts it is sent objects in")
def stores_where_it_retrieves(site):
    association = site.associate(calling="READER", contexts=[GET, CTS], roles=[CT])
    stopped(any(abstract == CT for abstract, _ in association.accepted.values()), "no context to send objects in")
    association.request(CT, rawdimse.C_STORE_RQ, image(site.study, "2.25.6.1", "2.25.6.2"), sop_instance="2.25.6.2")
    try:
        status = association.message()[0]["status"]
        stopped(status not in (0, 0xB000), f"status {status:04X}")
        how = f"status {status:04X}"
    except rawdimse.Refused:
        how = "A-ABORT"
    stopped(site.get("/dicom-web/instances?SOPInstanceUID=2.25.6.2").status == 204, "the object is in the archive")
    return f"{how}; nothing is stored"


@attack(WHO, "A foreign C-STORE into a C-MOVE that waits")
def into_a_move(site):
    answers = []

    def retrieve():
        answers.append(site.get(f"/archives/slowmover/studies/{site.study}", source=LOOPBACK, timeout=60))

    waits = threading.Thread(target=retrieve)
    waits.start()
    tried, ways = 0, set()
    while waits.is_alive():
        # As the archive from elsewhere, as nobody, and as a listed client, which stores into an archive of its own.
        for calling, called, source in (("SLOWMOVER", "GANTRY", ATTACKER), ("NOBODY", "GANTRY", ATTACKER), ("CT9", "SINK", LOOPBACK)):
            instance = f"2.25.66.{tried}"
            try:
                association = site.associate(calling=calling, called=called, source=source, contexts=[CTS])
                association.request(CT, rawdimse.C_STORE_RQ, image(site.study, "2.25.66", instance), sop_instance=instance)
                ways.add(f"{calling}: status {association.message()[0]['status']:04X}")
                association.sock.close()
            except (rawdimse.Refused, OSError, TypeError):
                ways.add(f"{calling}: refused")
            tried += 1
        time.sleep(0.05)
    waits.join()
    reply = answers[0]
    stopped(reply.status == 200 and reply.whole, f"the retrieval: {reply.status}")
    got = digests(parts(reply))
    stopped(got == site.whole[site.study], "a foreign object is in the answer")
    stopped(not any("SLOWMOVER: status 0000" in way for way in ways), str(ways))
    return f"{tried} objects for the study that waits; the answer has its own {len(got)} ({', '.join(sorted(ways))})"


@attack(WHO, "A foreign report of storage commitment")
def foreign_report(site):
    seen = set()
    for calling, source in (("CT1", LOOPBACK), ("READER", LOOPBACK), ("PACS", ATTACKER)):
        try:
            association = site.associate(calling=calling, source=source, contexts=[COMMITMENT, ECHO], roles=[COMMITMENT[0]])
            report = rawdimse.element(0x00081195, rawdimse.padded("2.25.99", "\0"))
            context = next(iter(association.accepted))
            # N-EVENT-REPORT-RQ: event type 1, success.
            uids = {0x00000002: COMMITMENT[0], 0x00001000: "1.2.840.10008.1.20.1.1"}
            numbers = {0x00000100: 0x0100, 0x00000110: 1, 0x00000800: 1, 0x00001002: 1}
            values = {tag: rawdimse.padded(uid, "\0") for tag, uid in uids.items()} | {tag: struct.pack("<H", n) for tag, n in numbers.items()}
            body = b"".join(rawdimse.element(tag, value) for tag, value in sorted(values.items()))
            body = rawdimse.element(0, struct.pack("<I", len(body))) + body
            association.sock.sendall(pdata(context, 3, body) + pdata(context, 2, report))
            command, _ = association.message()
            stopped(command["status"] != 0, f"{calling}: the report is taken")
            seen.add(f"status {command['status']:04X}")
        except (rawdimse.Refused, TypeError) as error:
            seen.add(rejection(str(error)) if "type 3" in str(error) else "A-ABORT")
    return f"refused: {', '.join(sorted(seen))}"


def pdata(context, flags, fragment):
    return struct.pack(">BBIIBB", 4, 0, len(fragment) + 6, len(fragment) + 2, context, flags) + fragment


def request_bytes():
    """A good A-ASSOCIATE-RQ, and a C-ECHO-RQ, to be spoiled."""
    body = struct.pack(">HH", 1, 0) + b"GANTRY".ljust(16) + b"CT1".ljust(16) + bytes(32) + rawdimse.item(0x10, rawdimse.APPLICATION_CONTEXT)
    body += rawdimse.item(0x20,
                          bytes([1, 0, 0, 0]) + rawdimse.item(0x30, ECHO[0].encode()) + rawdimse.item(0x40, rawdimse.IMPLICIT_LE.encode()))
    body += rawdimse.user_information()
    echo = rawdimse.command_set(sop_class=ECHO[0], command=rawdimse.C_ECHO_RQ, message_id=1, data_set=rawdimse.NO_DATA_SET)
    return struct.pack(">BBI", 1, 0, len(body)) + body, pdata(1, 3, echo)


@attack(WHO, "PDUs and PDVs of wrong lengths, kinds, order; garbage; half a message")
def spoiled_pdus(site):
    good, echo = request_bytes()
    echoed = echo[12:]
    cases = {
        "garbage": b"\xde\xad\xbe\xef" * 100,
        "HTTP": b"GET / HTTP/1.1\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3" + bytes(40),
        "a PDU of 4 GiB": b"\1\0\xff\xff\xff\xff" + bytes(1000),
        "data first": echo,
        "release first": b"\5\0\0\0\0\4\0\0\0\0",
        "PDU 0": b"\0\0\0\0\0\0",
        "PDU 255": b"\xff\0\0\0\0\0",
        "an empty request": b"\1\0\0\0\0\0",
        "twice": good + good,
        "PDV length 0": good + struct.pack(">BBII", 4, 0, 4, 0),
        "PDV length 1": good + struct.pack(">BBIIB", 4, 0, 5, 1, 1),
        "a PDV longer than its PDU": good + struct.pack(">BBIIBB", 4, 0, 6, 4096, 1, 3),
        "data of 4 GiB": good + b"\4\0\xff\xff\xff\xff\0\0\0\2\1\3",
        "a context of nobody": good + pdata(3, 3, echoed),
        "an even context": good + pdata(2, 3, echoed),
        "half a command": good + echo[:30],
        "a data set where none is": good + echo + pdata(1, 2, b"abc"),
        "a data set first": good + pdata(1, 2, b"abc"),
        "a command of one long value": good + pdata(1, 3, struct.pack("<HHI", 0, 2, 0xFFFFFFFE)),
        "a command without end": good + b"".join(pdata(1, 1, bytes(60000)) for _ in range(40)),
        "an answer that nobody asked for": good +
        pdata(1, 3, rawdimse.command_set(command=0x8030, responding_to=9, data_set=0x101, status=0)),
        "a cancel": good + pdata(1, 3, rawdimse.command_set(command=0x0FFF, responding_to=9, data_set=0x101)),
        "an accept": good + b"\2\0\0\0\0\0",
        "a rejection": good + b"\3\0\0\0\0\4\0\1\1\1",
    }
    seen = {}
    for what, data in cases.items():
        with plain(site.dimse, LOOPBACK) as sock:
            try:
                sock.sendall(data)
            except ConnectionError:
                pass
            try:
                answer = drain(sock)
            except TimeoutError:
                raise Succeeded(f"{what}: still open after 20 s") from None
            seen[what] = answer
    aborts = sum(b"\7\0\0\0\0\4" in answer for answer in seen.values())
    return f"{len(cases)} ways: {aborts} end with A-ABORT, the others with a rejection or a closed connection, none later than its time-out"


@attack(WHO, "The same, made by chance: 2,000 spoiled associations at the live port")
def fuzz(site):
    good, echo = request_bytes()
    dice, whole = random.Random(7), good + echo + b"\5\0\0\0\0\4\0\0\0\0"
    ways = [
        lambda b: b.__setitem__(dice.randrange(len(b)), dice.randrange(256)),
        lambda b: b.__delitem__(slice((at := dice.randrange(len(b))), at + dice.randrange(1, 9))),
        lambda b: b.__setitem__(slice((at := dice.randrange(len(b))), at), dice.randbytes(dice.randrange(1, 30))),
        lambda b: b.__setitem__(slice((at := dice.randrange(max(1,
                                                                len(b) - 4))), at + 4),
                                dice.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\1"])),
    ]
    begin = time.monotonic()
    for number in range(2000):
        spoiled = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            dice.choice(ways)(spoiled)
        try:
            with plain(site.dimse, f"127.0.0.{2 + number % 60}") as sock:
                sock.sendall(bytes(spoiled))
                if number % 3:  # two of three say that nothing more comes
                    sock.shutdown(socket.SHUT_WR)
                if number % 50 == 0:
                    sock.settimeout(1)
                    drain(sock)
        except (ConnectionError, TimeoutError):
            pass
    return f"each ended; {time.monotonic() - begin:.0f} s"


@attack(WHO, "Counters that overflow or go backwards")
def counters(site):
    statuses = {}
    for called in ("BACKWARDS", "SCRIPTED"):
        if called == "SCRIPTED":
            site.scripted.reset(
                Object("2.25.77", "2.25.77.1", "2.25.77.2", image("2.25.77", "2.25.77.1", "2.25.77.2")),
                on_get=lambda connection, command, _: respond(connection, command, 0, completed=65535, failed=65535, warning=65535))
        association = site.associate(calling="READER",
                                     called=called,
                                     contexts=[GET, FIND, CTS, ("1.2.840.10008.5.1.4.1.1.4", [rawdimse.EXPLICIT_LE])],
                                     roles=[CT, "1.2.840.10008.5.1.4.1.1.4"])
        objects = []
        study = site.study if called == "BACKWARDS" else "2.25.77"
        final = association.get({0x00080052: "STUDY", 0x0020000D: study}, lambda request, *_: objects.append(request["sop_instance"]))
        # What is told is what came.
        stopped(final.get("completed", 0) <= len(objects), f"{called}: told {final}, got {len(objects)}")
        if called == "SCRIPTED":
            stopped(final["status"] != 0, "65,535 objects that never came are a success")
        statuses[called] = f"{final['status']:04X} with {final.get('completed', 0)} of {len(objects)}"
    site.scripted.reset()
    return f"clients are told what they got: backwards {statuses['BACKWARDS']}; 65,535 told and none sent {statuses['SCRIPTED']}"


@attack(WHO, "Associations without end, silent or slow ones")
def associations(site):
    sockets, rejected = [], 0
    good, _ = request_bytes()
    try:
        for number in range(700):
            try:
                sock = plain(site.dimse, ATTACKER)
                sock.sendall(good if number % 7 == 0 else good[:10])
                sockets.append(sock)
            except OSError:
                rejected += 1
        # CT1's own places, three by default, all of them taken by itself: the fourth is told to come again.
        own = [site.associate(calling="READER", contexts=[ECHO]) for _ in range(3)]
        fourth = rejection(refused(site, calling="READER", contexts=[ECHO]))
        stopped(fourth == "2/3/2", f"a fourth association: {fourth}")
        site.normal()
        for association in own:
            association.sock.close()
    finally:
        for sock in sockets:
            sock.close()
    return "700 connections of one address: others are served meanwhile; a fourth association of one title is rejected for now (2/3/2)"


@attack(WHO, "A peer that never reads")
def never_reads(site):
    association = site.associate(calling="READER",
                                 called="GANTRY",
                                 contexts=[GET, FIND, CTS, ("1.2.840.10008.5.1.4.1.1.4", [rawdimse.EXPLICIT_LE])],
                                 roles=[CT, "1.2.840.10008.5.1.4.1.1.4"])
    association.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    association.request(rawdimse.STUDY_ROOT_GET, rawdimse.C_GET_RQ, rawdimse.identifier({0x00080052: "STUDY", 0x0020000D: site.study}))
    begin, own = time.monotonic(), association.sock.getsockname()[1]
    # Where an object fits into what the two ends keep, it is its answer that is waited for: a minute.
    while site.established(own) and time.monotonic() - begin < 75:
        site.normal()
        time.sleep(0.5)
    stopped(not site.established(own), "the association of who reads nothing stays")
    association.sock.close()
    return f"its association ends after {time.monotonic() - begin:.0f} s (an object's answer is waited for 60 s); others are served meanwhile"


@attack(WHO, "Storing hostile objects: UIDs with line ends, paths, nesting, ends too soon")
def hostile_stores(site):
    uid, sequence = "2.25.67", struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    good = image(uid, uid + ".1", uid + ".2")
    cases = {
        "a UID with line ends": (good, {"sop_instance": uid + ".2\r\nX: 1"}), "a UID that is a path": (good, {"sop_instance": "../../etc/passwd"}),
        "no UID": (good, {"sop_instance": ""}), "another UID than its own": (good, {"sop_instance": uid + ".9"}),
        "another class than its context's": (good, {"sop_instance": uid + ".2", "sop_class": "1.2.840.10008.5.1.4.1.1.4"}),
        "nesting": (good + sequence * 100_000, {"sop_instance": uid + ".2"}), "nothing": (b"", {"sop_instance": uid + ".2"}),
        "a length beyond": (good + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFF0) + b"abc", {"sop_instance": uid + ".2"}),
        "garbage": (b"\xde\xad\xbe\xef" * 1000, {"sop_instance": uid + ".2"}), "its UIDs twice": (good * 2, {"sop_instance": uid + ".2"}),
        "of two studies": (image(f"{uid}\\{site.study}", uid + ".1", uid + ".2"), {"sop_instance": uid + ".2"}),
    }
    seen = {}
    for what, (data, fields) in cases.items():
        association = site.associate(calling="CT9", called="SINK", contexts=[CTS])
        context = next(iter(association.accepted))
        command = {"sop_class": CT, "command": rawdimse.C_STORE_RQ, "message_id": 1, "priority": 0, **fields}
        try:
            association.send(context, command, data)
            how = f"{association.message()[0]['status']:04X}"
        except (rawdimse.Refused, OSError, TypeError):
            how = "ended"
        seen.setdefault(how, []).append(what)
        association.sock.close()
    # What is in an object that is framed to its end is between the client and the archive; what names it must be a name.
    unwanted = {"a UID with line ends", "a UID that is a path", "no UID"}
    stopped(not unwanted & set(seen.get("0000", ())), f"stored: {seen.get('0000')}")
    return "; ".join(f"{how}: {', '.join(what)}" for how, what in sorted(seen.items()))


@attack(WHO, "Half-closed connections, and resets in the middle")
def half_closed(site):
    good, echo = request_bytes()
    for number in range(120):
        sock = plain(site.dimse, LOOPBACK)
        sock.sendall(good + (echo[:10 + number % 40] if number % 2 else b""))
        if number % 3 == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif number % 3 == 1:
            sock.shutdown(socket.SHUT_WR)
        sock.close()
    return "120 of them leave nothing behind"


@attack(WHO, "A title that is tied to a certificate, without it or with another")
def tied_title(site):
    seen = {rejection(refused(site, calling="WARD"))}
    for name in ("viewer", "device"):
        seen.add(rejection(over_tls(site, name)))
    stopped(over_tls(site, "ward") == "accepted", "its own certificate is refused")
    stopped(seen == {"1/1/3"}, f"{seen}")
    return "rejected (1/1/3); with its own it comes"


def over_tls(site, name, calling="WARD"):
    """How an association over TLS ends, with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(site.pki.pem("ca"))
    if name:
        context.load_cert_chain(site.pki.pem(name), site.pki.key(name))
    try:
        association = Bound(LOOPBACK, site.dimse_tls, "GANTRY", [ECHO], calling, source=LOOPBACK, tls=context)
    except rawdimse.Refused as error:
        return str(error)
    except OSError as error:
        return type(error).__name__
    association.release()
    return "accepted"
