"""What a neighbour on the network can try, between the bridge and its clients or its archives."""

import socket
import ssl
import struct
import subprocess
import time

from attack_rows import attack
from attack_site import Succeeded, stopped
from attack_wire import LOOPBACK, context, drain, plain

WHO = "Neighbours on the network"
WEAK = {
    "AES-CBC": "ECDHE-RSA-AES128-SHA", "no forward secrecy": "AES128-GCM-SHA256", "3DES": "DES-CBC3-SHA", "no encryption": "NULL",
    "anonymous": "ADH:AECDH", "RC4": "RC4-SHA", "DHE": "DHE-RSA-AES128-GCM-SHA256"
}


def ports(site):
    return {"HTTPS": site.http, "DIMSE": site.dimse_tls}


def handshake(site, port, made):
    try:
        with made.wrap_socket(plain(port, LOOPBACK), server_hostname="localhost") as sock:
            return f"{sock.version()} {sock.cipher()[0]}"
    except OSError as error:
        return type(error).__name__


@attack(WHO, "TLS downgrade: old versions, weak suites, the fallback signal")
def downgrade(site):
    viewer = site.pki.pem("viewer"), site.pki.key("viewer")
    seen = 0
    for name, port in ports(site).items():
        for version in (ssl.TLSVersion.SSLv3, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            try:
                made = context(site.pki.pem("ca"), viewer, weakest=version, strongest=version, ciphers="ALL:@SECLEVEL=0")
            except ValueError:
                continue
            got = handshake(site, port, made)
            stopped("TLS" not in got and "SSLv3" not in got, f"{name}: {got}")
            seen += 1
        for what, suite in WEAK.items():
            try:
                made = context(site.pki.pem("ca"), viewer, strongest=ssl.TLSVersion.TLSv1_2, ciphers=suite + ":@SECLEVEL=0")
            except ssl.SSLError:
                continue
            got = handshake(site, port, made)
            stopped("TLS" not in got, f"{name}: {what}: {got}")
            seen += 1
    stopped("TLSv1.3" in handshake(site, site.http, context(site.pki.pem("ca"))), "TLS 1.3 is refused")
    stopped("TLSv1.2" in handshake(site, site.http, context(site.pki.pem("ca"), strongest=ssl.TLSVersion.TLSv1_2)), "TLS 1.2 is refused")
    return f"{seen} handshakes below TLS 1.2 or with weak suites are refused on both ports"


@attack(WHO, "Renegotiation, compression, early data")
def renegotiation(site):
    said = subprocess.run(["openssl", "s_client", "-connect", f"{LOOPBACK}:{site.http}", "-tls1_2", "-legacy_renegotiation"],
                          input=b"R\n",
                          capture_output=True,
                          timeout=30)
    out = said.stdout + said.stderr
    stopped(
        b"verify return" not in out.partition(b"RENEGOTIATING")[2].partition(b"error")[0] or b"error" in out or b"alert" in out
        or b"closed" in out, "it renegotiates")
    stopped(b"Compression: NONE" in out, "it compresses")
    fresh = subprocess.run(["openssl", "s_client", "-connect", f"{LOOPBACK}:{site.http}", "-tls1_3"],
                           input=b"",
                           capture_output=True,
                           timeout=30).stdout
    stopped(b"Max Early Data: 0" in fresh or b"Max Early Data" not in fresh, "early data can be replayed")
    return "none of them"


@attack(WHO, "Who says to be the archive: signed by itself, by a stranger, for another name, expired, plain")
def impostors(site):
    stopped(site.get("/archives/secure/studies", source=LOOPBACK).status == 200, "the archive with a good certificate is not searched")
    seen = {name: site.get(f"/archives/{name}/studies", source=LOOPBACK, timeout=30).status for name in site.impostors if name != "secure"}
    stopped(set(seen.values()) <= {502, 503, 504}, f"{seen}")
    return ", ".join(f"{name} {status}" for name, status in seen.items())


@attack(WHO, "Plain text to the ports of TLS, TLS to the plain one")
def plain_text(site):
    seen = {}
    for name, port in ports(site).items():
        for what, data in {
                "HTTP": b"GET /dicom-web/studies HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                "an association": b"\1\0\0\0\0\xcd\0\1" + bytes(200), "garbage": b"\x80" * 500
        }.items():
            with plain(port) as sock:
                sock.sendall(data)
                answer = drain(sock)
            # Who takes it for plain HTTP is told so.
            stopped(not answer.startswith(b"HTTP/1.1 2") and b"0020000D" not in answer and answer[:1] not in (b"\2", b"\3"),
                    f"{name}: {what}: {answer[:100]}")
            seen[name, what] = "400" if b" 400 " in answer else "an alert" if answer[:1] == b"\x15" else "closed"
    got = handshake(site, site.dimse, context(site.pki.pem("ca")))
    stopped("TLS" not in got, f"TLS to the plain port: {got}")
    return f"{len(seen)} ways: {', '.join(sorted(set(seen.values())))}"


@attack(WHO, "No certificate, or a stranger's, where one is wanted")
def no_certificate(site):
    pki, seen = site.pki, {}
    certificates = {
        "none": None, "a stranger's": (pki.pem("stranger"), pki.key("stranger")),
        "the server's own, as a client's": (pki.pem("server"), pki.key("server"))
    }
    for what, shown in certificates.items():
        made = context(pki.pem("ca"), shown)
        try:
            with made.wrap_socket(plain(site.dimse_tls, LOOPBACK), server_hostname="localhost") as sock:
                # TLS 1.3 tells of a refused certificate when something is read.
                sock.sendall(b"\1\0\0\0\0\xcd\0\1" + b"GANTRY".ljust(18) + b"WARD".ljust(16) + bytes(171))
                answer = sock.recv(100)
                seen[what] = {b"": "closed", b"\3": "rejected", b"\7": "aborted"}.get(answer[:1], "answered")
        except OSError as error:
            seen[what] = getattr(error, "reason", None) or type(error).__name__
    stopped("answered" not in seen.values(), f"{seen}")
    return ", ".join(f"{what}: {how}" for what, how in seen.items())


@attack(WHO, "Handshakes that stop, drip, or are spoiled, in numbers")
def handshakes(site):
    hello = hello_of(site)
    socks, begin = [], time.monotonic()
    for number in range(400):
        try:
            sock = plain(ports(site)["HTTPS" if number % 2 else "DIMSE"], f"127.0.0.{70 + number % 4}")
            sock.sendall(hello[:number % len(hello)])
            socks.append(sock)
        except OSError:
            pass
    numbers = [sock.getsockname()[1] for sock in socks]
    while (left := site.established(*numbers)) and time.monotonic() - begin < 20:
        site.normal()
        time.sleep(0.5)
    for sock in socks:
        sock.close()
    stopped(not left, f"{left} handshakes are still open")
    took = time.monotonic() - begin
    for at in range(0, len(hello), 3):
        with plain(site.http) as sock:
            sock.sendall(hello[:at] + bytes([hello[at] ^ 0xFF]) + hello[at + 1:])
            sock.settimeout(1)
            try:
                sock.recv(1000)
            except OSError:
                pass
    # Records of 16 KiB that promise one long message.
    with plain(site.http) as sock:
        try:
            for _ in range(2000):
                sock.sendall(b"\x16\x03\x01\x40\x00" + (b"\1\xff\xff\xff" + bytes(16380)))
            raise Succeeded("a first message of 32 MiB is taken")
        except OSError:
            pass
    return f"400 end within {took:.0f} s (time-outs: 4 s); {len(hello) // 3} spoiled ones are refused"


def hello_of(site):
    """The bytes of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    made = context(site.pki.pem("ca")).wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        made.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


@attack(WHO, "Resets and cut connections in the middle of an answer")
def resets(site):
    for number in range(60):
        sock = context(site.pki.pem("ca")).wrap_socket(plain(site.http), server_hostname="localhost")
        sock.sendall(
            f"GET /dicom-web/studies/{site.study} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nAuthorization: Bearer {site.tokens['viewer']}\r\n\r\n"
            .encode())
        sock.recv(1 + number * 100)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", number % 2, 0))
        sock.close()
    return "60 of them leave nothing behind"
