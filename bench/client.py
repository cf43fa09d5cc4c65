"""An HTTP/1.1 client that costs next to nothing, and the same whoever serves: bare sockets that are kept, one buffer.

A chunked body is known to be over by its last chunk, not taken apart, so that a timed client spends its time in recv.
"""

import re
import selectors
import socket
import time
from dataclasses import dataclass

BUFFER = 1 << 20
PATIENCE_SECONDS = 300
LAST_CHUNK = b"\r\n0\r\n\r\n"
OBJECTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
FRAMES = 'multipart/related; type="application/octet-stream"'
JSON = "application/dicom+json"


class Failed(Exception):
    """A server answered otherwise than it should."""


@dataclass
class Reply:
    """What came: the bytes of the body as they were on the wire, chunk heads included, and when (seconds)."""

    status: int
    size: int
    first: float  # from the request to the first byte of the answer
    total: float  # from the request to its last
    body: bytes = b""


class Answer:
    """Reads one answer from what the socket gives, piece by piece."""

    def __init__(self, keep):
        self.head, self.status, self.length, self.size, self.tail = b"", None, None, 0, b""
        self.pieces = [] if keep else None
        self.chunked = self.close = False

    def feed(self, piece):
        """Takes a piece; True when it was the last."""
        if self.status is None:
            self.head += bytes(piece)
            head, end, rest = self.head.partition(b"\r\n\r\n")
            if not end:
                return False
            self.read_head(head)
            piece = memoryview(rest)
        self.size += len(piece)
        if self.pieces is not None:
            self.pieces.append(bytes(piece))
        if self.length is not None:
            return self.size >= self.length
        last = bytes(piece[-len(LAST_CHUNK):])
        self.tail = (self.tail + last)[-len(LAST_CHUNK):]
        # An empty body has no line end before its last chunk.
        return self.chunked and (self.tail == LAST_CHUNK or (self.size == 5 and self.tail == LAST_CHUNK[2:]))

    def read_head(self, head):
        self.status = int(head.split(b" ", 2)[1])
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        if self.status in (204, 304):
            self.length = 0
        elif b"content-length" in fields:
            self.length = int(fields[b"content-length"])
        self.chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
        self.close = b"close" in fields.get(b"connection", b"")

    def body(self):
        body = b"".join(self.pieces or ())
        if not (self.chunked and self.pieces):
            return body
        out, at = [], 0
        while True:
            line = body.index(b"\r\n", at)
            size = int(body[at:line].split(b";")[0], 16)
            if size == 0:
                return b"".join(out)
            out.append(body[line + 2:line + 2 + size])
            at = line + 4 + size


def request(path, accept):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode()


def connect(address):
    sock = socket.create_connection(address, timeout=PATIENCE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Http:
    """One connection, kept."""

    def __init__(self, address):
        self.address, self.sock = address, connect(address)
        self.buffer = memoryview(bytearray(BUFFER))

    def get(self, path, accept=JSON, keep=False, status=200):
        answer, first = Answer(keep), None
        self.reopen_if_closed()
        start = time.perf_counter()
        self.sock.sendall(request(path, accept))
        while True:
            count = self.sock.recv_into(self.buffer)
            first = first or time.perf_counter() - start
            if count == 0:
                raise Failed(f"port {self.address[1]} broke off: GET {path} after {answer.size} bytes")
            if answer.feed(self.buffer[:count]):
                break
        total = time.perf_counter() - start
        if answer.close:
            self.sock.close()
            self.sock = connect(self.address)
        if answer.status != status:
            raise Failed(f"GET {path}: {answer.status} {answer.head[-1000:]}")
        return Reply(answer.status, answer.size, first, total, answer.body())

    def reopen_if_closed(self):
        """Servers close what is idle, Orthanc after a second; a client that sees it connects again, and that is not timed."""
        self.sock.setblocking(False)
        try:
            if self.sock.recv(1, socket.MSG_PEEK):
                raise Failed(f"port {self.address[1]} sent more than its answer")
        except BlockingIOError:
            self.sock.settimeout(PATIENCE_SECONDS)
            return
        except ConnectionResetError:
            pass
        self.sock.close()
        self.sock = connect(self.address)

    def close(self):
        self.sock.close()


class Pool:
    """Connections that are kept, read by one thread."""

    def __init__(self, address, connections):
        self.address = address
        self.socks = [connect(address) for _ in range(connections)]
        self.buffer = memoryview(bytearray(BUFFER))

    def fetch(self, paths, accept, at_least):
        """Gets all paths, each on the first connection that is free: the seconds of each, in the order of `paths`."""
        times, waiting, busy = [0.0] * len(paths), list(enumerate(paths))[::-1], {}
        with selectors.DefaultSelector() as selector:
            def ask(sock):
                number, path = waiting.pop()
                busy[sock] = (number, time.perf_counter(), Answer(False))
                sock.sendall(request(path, accept))

            for sock in self.socks:
                selector.register(sock, selectors.EVENT_READ)
                if waiting:
                    ask(sock)
            while busy:
                ready = selector.select(PATIENCE_SECONDS)
                if not ready:
                    raise Failed(f"nothing came for {PATIENCE_SECONDS} s")
                for key, _ in ready:
                    sock = key.fileobj
                    count = sock.recv_into(self.buffer)
                    if count == 0:
                        raise Failed(f"port {self.address[1]} broke off: GET {paths[busy[sock][0]]}")
                    number, start, answer = busy[sock]
                    if not answer.feed(self.buffer[:count]):
                        continue
                    times[number] = time.perf_counter() - start
                    if answer.status != 200 or answer.size < at_least:
                        raise Failed(f"GET {paths[number]}: {answer.status}, {answer.size} bytes, {answer.head[-600:]}")
                    del busy[sock]
                    if answer.close:
                        selector.unregister(sock)
                        sock.close()
                        self.socks.remove(sock)
                        sock = connect(self.address)
                        self.socks.append(sock)
                        selector.register(sock, selectors.EVENT_READ)
                    if waiting:
                        ask(sock)
        return times

    def close(self):
        for sock in self.socks:
            sock.close()


def instances_of(metadata):
    """The SOP Instance UIDs in DICOM JSON, in its order, each once."""
    found = re.findall(rb'"00080018"\s*:\s*\{[^}]*?"Value"\s*:\s*\[\s*"([0-9.]+)"', metadata)
    return list(dict.fromkeys(uid.decode() for uid in found))
