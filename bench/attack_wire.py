"""How attacks speak: HTTP/1.1 and HTTP/2 by hand over TLS, from an address of their own."""

import re
import socket
import ssl
import struct
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
ATTACKER = "127.0.0.66"
PATIENCE_SECONDS = 20
JSON = "application/dicom+json"
OBJECTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'

# HTTP/2 (RFC 9113).
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
ERRORS = {
    0: "NO_ERROR", 1: "PROTOCOL_ERROR", 2: "INTERNAL_ERROR", 3: "FLOW_CONTROL_ERROR", 5: "STREAM_CLOSED", 6: "FRAME_SIZE_ERROR",
    7: "REFUSED_STREAM", 8: "CANCEL", 9: "COMPRESSION_ERROR", 11: "ENHANCE_YOUR_CALM"
}


def context(ca, certificate=None, protocols=("http/1.1", ), weakest=None, strongest=None, ciphers=None):
    """What a client of TLS takes, and shows."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(ca)
    made.set_alpn_protocols(list(protocols))
    if certificate:
        made.load_cert_chain(*certificate)
    if weakest:
        made.minimum_version = weakest
    if strongest:
        made.maximum_version = strongest
    if ciphers:
        made.set_ciphers(ciphers)
    return made


def plain(port, source=ATTACKER):
    return socket.create_connection((LOOPBACK, port), timeout=PATIENCE_SECONDS, source_address=(source, 0))


def Web(site, source=ATTACKER, **more):
    """A connection to the site's HTTPS."""
    sock = plain(site.http, source)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context(site.pki.pem("ca"), **more).wrap_socket(sock, server_hostname="localhost")


@dataclass
class Reply:
    status: int = 0
    head: str = ""
    body: bytes = b""
    whole: bool = False
    fields: dict = field(default_factory=dict)

    def text(self):
        return self.body.decode(errors="replace")


def read_reply(sock, method="GET"):
    """One answer; status 0: the connection ended without one."""
    # What has come and is not taken apart yet.
    data, reply = bytearray(), Reply()

    def more():
        nonlocal data
        try:
            piece = sock.recv(1 << 18)
        except (ConnectionError, ssl.SSLError):
            piece = b""
        data += piece
        return bool(piece)

    while b"\r\n\r\n" not in data:
        if not more():
            return reply
    head, _, data = data.partition(b"\r\n\r\n")
    reply.head = head.decode("latin-1")
    reply.status = int(reply.head.split(" ", 2)[1])
    reply.fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in reply.head.split("\r\n")[1:])}
    if method == "HEAD" or reply.status in (204, 304):
        reply.whole = True
    elif "chunked" in reply.fields.get("transfer-encoding", ""):
        body = []
        while True:
            while b"\r\n" not in data:
                if not more():
                    reply.body = b"".join(body)
                    return reply
            line, _, data = data.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            while len(data) < size + 2:
                if not more():
                    reply.body = b"".join(body) + bytes(data)
                    return reply
            body.append(bytes(data[:size]))
            del data[:size + 2]
            if size == 0:
                reply.body, reply.whole = b"".join(body), True
                return reply
    else:
        length = int(reply.fields.get("content-length", 0))
        while len(data) < length and more():
            pass
        reply.body, reply.whole = bytes(data[:length]), len(data) >= length
    return reply


def head(path, method="GET", token=None, accept=None, more=""):
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    accept = accept or (JSON if re.search(r"/(studies|series|instances|metadata)(\?.*)?$", path) else OBJECTS)
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n{authorization}{more}\r\n".encode("latin-1")


def ask(site, path, token=None, method="GET", accept=None, more="", body=b"", source=ATTACKER, timeout=PATIENCE_SECONDS, **tls):
    """One request on a connection of its own."""
    with Web(site, source, **tls) as sock:
        sock.settimeout(timeout)
        length = f"Content-Length: {len(body)}\r\n" if body or method in ("POST", "PUT") else ""
        try:
            sock.sendall(head(path, method, token, accept, more + length) + body)
        except (ConnectionError, ssl.SSLError):
            pass  # it may have been answered before all of it was taken
        return read_reply(sock, method)


def say(site, data, source=ATTACKER, timeout=PATIENCE_SECONDS):
    """All that is answered to these bytes, until the connection ends."""
    with Web(site, source) as sock:
        sock.settimeout(timeout)
        try:
            sock.sendall(data)
        except (ConnectionError, ssl.SSLError):
            pass
        return drain(sock)


def drain(sock):
    """What comes until the connection ends. One that does not is a TimeoutError."""
    out = b""
    while True:
        try:
            piece = sock.recv(1 << 16)
        except TimeoutError:
            raise
        except (ConnectionError, ssl.SSLError):
            return out
        if not piece:
            return out
        out += piece


def statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)]


def parts(reply):
    """The bodies of a multipart answer's parts."""
    boundary = re.search(r'boundary="?([^";]+)"?', reply.fields["content-type"])[1].encode()
    pieces = (b"\r\n" + reply.body).split(b"\r\n--" + boundary)
    if not pieces[-1].startswith(b"--"):
        raise LookupError("the multipart body is not closed")
    return [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:-1]]


def multipart(*bodies, kind="application/dicom", boundary="bound"):
    """A body of multipart/related, and the header field that goes with it."""
    body = b"".join(f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + one + b"\r\n" for one in bodies)
    return f'Content-Type: multipart/related; type="{kind}"; boundary={boundary}\r\n', body + f"--{boundary}--\r\n".encode()


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def setting(name, value):
    return struct.pack(">HI", name, value)


def integer(value, bits, first=0):
    """An integer of HPACK."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def literal(name, value):
    """A field that no table remembers."""
    return b"\0" + integer(len(name), 7) + name.encode() + integer(len(value), 7) + value.encode("latin-1")


class Http2:
    """A connection of HTTP/2 on which frames are written by hand."""

    def __init__(self, site, settings=b"", source=ATTACKER):
        self.sock = Web(site, source, protocols=("h2", ))
        self.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, payload=settings))
        self.buffer = b""

    def say(self, data):
        self.sock.sendall(data)

    def fields(self, path, method="GET", token=None, **more):
        out = literal(":method", method) + literal(":scheme", "https") + literal(":authority", "localhost") + literal(":path", path)
        if token:
            out += literal("authorization", f"Bearer {token}")
        return out + b"".join(literal(name.replace("_", "-"), value) for name, value in more.items())

    def get(self, stream, path, flags=END_STREAM | END_HEADERS, **more):
        return frame(HEADERS, flags, stream, self.fields(path, **more))

    def next(self, timeout=PATIENCE_SECONDS):
        """(kind, flags, stream, payload); None: the connection has ended. One that neither ends nor speaks is a TimeoutError."""
        self.sock.settimeout(timeout)
        try:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
                piece = self.sock.recv(1 << 16)
                if not piece:
                    return None
                self.buffer += piece
        except TimeoutError:
            raise
        except (ConnectionError, ssl.SSLError):
            return None
        length = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
        return kind, flags, stream, payload

    def ends(self, timeout=PATIENCE_SECONDS):
        """How the connection ends: the code of the last GOAWAY, or "closed"."""
        how = "closed"
        while True:
            got = self.next(timeout)
            if got is None:
                return how
            if got[0] == GOAWAY:
                how = ERRORS.get(struct.unpack(">I", got[3][4:8])[0], "?")

    def status(self, stream, timeout=PATIENCE_SECONDS):
        """The status that a stream is answered with, or how it was reset."""
        while True:
            got = self.next(timeout)
            if got is None:
                return "closed"
            kind, _, of, payload = got
            if kind == GOAWAY:
                return ERRORS.get(struct.unpack(">I", payload[4:8])[0], "?")
            if of != stream:
                continue
            if kind == RST_STREAM:
                return ERRORS.get(struct.unpack(">I", payload)[0], "?")
            if kind == HEADERS:
                return decode_status(payload)

    def close(self):
        self.sock.close()


def decode_status(block):
    """The status at the beginning of a block of fields (RFC 7541, Appendix A and B)."""
    while block and block[0] & 0xE0 == 0x20:  # a table's new size
        block = block[1:]
    static = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
    if block[0] in static:
        return static[block[0]]
    length, value = block[1] & 0x7F, block[2:2 + (block[1] & 0x7F)]
    if not block[1] & 0x80:
        return int(value)
    bits, digits = "".join(f"{byte:08b}" for byte in value[:length]), ""
    codes = {f"{n:05b}": str(n) for n in range(3)} | {f"{n + 22:06b}": str(n) for n in range(3, 10)}
    while len(digits) < 3:
        size = 5 if bits[:5] in codes else 6
        digits, bits = digits + codes[bits[:size]], bits[size:]
    return int(digits)
