"""What no line of the threat model names: combinations, odd requests, many things at once."""

import concurrent.futures
import random
import socket
import struct
import time

from attack_peers import rawdimse
from attack_dimse import request_bytes
from attack_peers import image, part10
from attack_rows import attack
from attack_site import Succeeded, stopped
from attack_wire import ATTACKER, LOOPBACK, RST_STREAM, Http2, Web, ask, drain, frame, head, multipart, say, statuses

WHO = "Beyond the list"


@attack(WHO, "1,500 HTTP requests spoiled by chance")
def fuzz(site):
    dice, seen = random.Random(11), {}
    paths = [
        "/dicom-web/studies?PatientName=A*", f"/dicom-web/studies/{site.study}/metadata", f"/dicom-web/studies/{site.study}",
        "/openapi.yaml", "/", "/health/ready", "/metrics"
    ]
    kind, body = multipart(part10(image("2.25.71", "2.25.71.1", "2.25.71.2"), "2.25.71.2"))
    texts = [head(path, token=site.tokens["viewer"]) for path in paths]
    texts.append(head("/dicom-web/studies", "POST", site.tokens["viewer"], more=f"{kind}Content-Length: {len(body)}\r\n") + body)
    pieces = [
        b"\r\n", b"\n", b"\0", b"%00", b"%2e%2e/", b"//", b"\xff\xfe", b";", b"&", b"=", b"\\", b"*" * 50, b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"Range: bytes=-1\r\n",
        b"9" * 30
    ]
    for number in range(1500):
        text = bytearray(dice.choice(texts))
        for _ in range(dice.randrange(1, 5)):
            at = dice.randrange(len(text))
            way = dice.randrange(4)
            if way == 0:
                text[at] = dice.randrange(256)
            elif way == 1:
                del text[at:at + dice.randrange(1, 20)]
            elif way == 2:
                text[at:at] = dice.choice(pieces)
            else:
                text[at:at] = dice.randbytes(dice.randrange(1, 10))
            if not text:
                text = bytearray(b"x")
        with Web(site, f"127.0.0.{100 + number % 100}") as sock:
            try:
                sock.sendall(text)
                sock.settimeout(0.05)
                answer = sock.recv(1 << 16)
            except OSError:
                answer = b""
        for status in statuses(answer):
            seen[status] = seen.get(status, 0) + 1
            stopped(status not in (500, 502), f"{status}: {bytes(text)[:300]!r} {answer[:300]!r}")
    return ", ".join(f"{count} × {status}" for status, count in sorted(seen.items()))


@attack(WHO, "Methods, versions and upgrades that there are not; Expect")
def odd(site):
    seen = {}
    for line in ("PRI * HTTP/2.0", "GET / HTTP/9.9", "GET / HTTP/1.2", "get / HTTP/1.1", "G\0T / HTTP/1.1", "GET  / HTTP/1.1",
                 "GET\t/ HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 x", "PROPFIND / HTTP/1.1", "DEBUG / HTTP/1.1",
                 "A" * 5000 + " / HTTP/1.1", "GET /\xff HTTP/1.1", "GET /? HTTP/1.0", "\r\n\r\nGET / HTTP/1.1"):
        answer = say(site, f"{line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
        seen[line[:12].strip()] = statuses(answer)[:1]
        stopped(all(status < 500 or status in (501, 505) for status in statuses(answer)), f"{line[:40]!r}: {answer[:200]}")
    for fields in ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n",
                   "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"):
        answer = say(
            site,
            f"GET /health/live HTTP/1.1\r\nHost: x\r\n{fields}\r\nGET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(
            ))
        stopped(101 not in statuses(answer), f"upgraded: {answer[:200]}")
    kind, body = multipart(b"x")
    for expect in ("100-continue", "200-ok", "100-continue, 100-continue"):
        reply = ask(site, "/dicom-web/studies", method="POST", more=f"{kind}Expect: {expect}\r\n", body=body)
        stopped(reply.status in (400, 401, 417), f"{expect}: {reply.status}")
    return f"{len(seen)} first lines, 2 upgrades, 3 Expects: refused or passed over"


@attack(WHO, "Half-closed HTTP connections, and pipelines whose answers nobody reads")
def half_closed(site):
    for number in range(60):
        sock = Web(site, ATTACKER)
        sock.sendall(head("/dicom-web/studies", token=site.tokens["viewer"]) * (1 + number % 30))
        if number % 2:
            try:
                sock.unwrap()
            except OSError:
                pass
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        if number % 3 == 0:
            sock.settimeout(0.2)
            try:
                drain(sock)
            except OSError:
                pass
        sock.close()
    return "60 of them leave nothing behind"


@attack(WHO, "Asking and giving up, over and over, for studies that come slowly")
def giving_up(site):

    def once(number):
        with Web(site, f"127.0.0.{80 + number % 4}") as sock:
            sock.sendall(head(f"/archives/slowmover/studies/{site.studies[number % len(site.studies)]}", token=site.tokens["viewer"]))
            time.sleep(0.05 * (number % 5))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(once, range(160)))
    begin = time.monotonic()
    if site.objects("slowmover", site.study) != site.whole[site.study]:
        raise Succeeded("what is asked for afterwards is not whole")
    return f"160 times; who stays is served after {time.monotonic() - begin:.1f} s"


@attack(WHO, "Identifiers of DIMSE clients that are spoiled")
def identifiers(site):
    uid, seen = rawdimse.element(0x0020000D, b""), {}
    sequence = struct.pack("<HHI", 0x0008, 0x1115, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    cases = {
        "nothing": b"", "garbage": b"\xde\xad\xbe\xef" * 20, "a length beyond": struct.pack("<HHI", 0x0010, 0x0010, 0xFFFFFFF0) + b"x",
        "nesting": sequence * 5000, "a level of nobody": rawdimse.identifier({0x00080052: "EVIL"}),
        "two levels": rawdimse.identifier({0x00080052: "STUDY\\IMAGE"}),
        "5,000 UIDs": rawdimse.identifier({0x00080052: "STUDY", 0x0020000D: "\\".join(["1.2.3"] * 5000)
                                           }), "line ends": rawdimse.identifier({0x00080052: "STUDY\r\n"}),
        "a megabyte and more": rawdimse.identifier({0x00080052: "STUDY", 0x00100010: "x" * (3 << 20)
                                                    }), "a path": rawdimse.identifier({0x00080052: "STUDY",
                                                                                       0x0020000D: "../../etc/passwd"}),
        "a character set of nobody": rawdimse.identifier({0x00080005: "EVIL", 0x00080052: "STUDY", 0x00100010: "\x1b$Bx"}),
        "backwards": uid + rawdimse.element(0x00080052, b"STUDY "), "twice": rawdimse.element(0x00080052, b"STUDY ") * 2 + uid * 2,
        "wildcards": rawdimse.identifier({0x00080052: "STUDY", 0x00100010: "*?" * 30000})
    }
    for what, data in cases.items():
        association = site.associate(contexts=[(rawdimse.STUDY_ROOT_FIND, [rawdimse.IMPLICIT_LE])])
        try:
            association.request(rawdimse.STUDY_ROOT_FIND, rawdimse.C_FIND_RQ, data)
            matches = 0
            while (message := association.message()) and message[0]["status"] in rawdimse.PENDING:
                matches += 1
            seen.setdefault(f"{message[0]['status']:04X}", []).append(what)
        except (rawdimse.Refused, OSError):
            seen.setdefault("ended", []).append(what)
        association.sock.close()
    return "; ".join(f"{status}: {', '.join(what)}" for status, what in seen.items())


@attack(WHO, "Everything at once: spoiled PDUs, resets, refusals and floods, for 20 seconds")
def everything(site):
    good, echo = request_bytes()
    end, dice = time.monotonic() + 20, random.Random(3)

    def dimse():
        while time.monotonic() < end:
            try:
                with socket.create_connection((LOOPBACK, site.dimse), timeout=2,
                                              source_address=(f"127.0.0.{120 + dice.randrange(20)}", 0)) as sock:
                    text = bytearray(good + echo)
                    text[dice.randrange(len(text))] ^= 1 << dice.randrange(8)
                    sock.sendall(text)
                    sock.settimeout(0.1)
                    sock.recv(1000)
            except OSError:
                pass

    def web():
        while time.monotonic() < end:
            try:
                client = Http2(site, source=f"127.0.0.{140 + dice.randrange(20)}")
                client.say(b"".join(
                    client.get(2 * n + 1, f"/dicom-web/studies/{site.studies[n % 4]}", token=site.tokens["viewer"]) +
                    frame(RST_STREAM, 0, 2 * n + 1, bytes(4)) for n in range(40)))
                client.close()
            except OSError:
                pass

    def tokens():
        while time.monotonic() < end:
            try:
                ask(site, "/dicom-web/studies", token="x" * dice.randrange(1, 3000), source=f"127.0.0.{160 + dice.randrange(20)}")
            except OSError:
                pass

    rounds = 0
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        running = [pool.submit(work) for work in (dimse, web, tokens) * 2]
        while time.monotonic() < end:
            site.normal()
            rounds += 1
        for one in running:
            one.result()
    return f"the site's own users were served {rounds} times meanwhile, each time rightly"
