"""DIMSE on a bare socket: no toolkit between the test and the bytes.

Reads and writes PS3.8 PDUs and PS3.7 command sets itself, keeps data sets as the bytes that came, and waits for
nothing that TCP does not make it wait for (TCP_NODELAY, TCP_QUICKACK after every read). So it is both the reference
that a bridge's bytes are held against and the best time that an archive allows.
"""

import socket
import struct
import threading

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

C_STORE_RQ, C_STORE_RSP, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ, C_ECHO_RQ = 0x0001, 0x8001, 0x0010, 0x0020, 0x0021, 0x0030
C_ECHO_RSP = 0x8030
NO_DATA_SET = 0x0101
PENDING = (0xFF00, 0xFF01)

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
IMPLEMENTATION = b"2.25.310741259204513820475510283410938715"
MAX_PDU = 131072
TIMEOUT_SECONDS = 120

# Command elements (PS3.7 E.1), the little that is needed, by the names used below.
COMMAND = {
    "sop_class": (0x0002, "UI"), "command": (0x0100, "US"), "message_id": (0x0110, "US"),
    "responding_to": (0x0120, "US"), "destination": (0x0600, "AE"), "priority": (0x0700, "US"),
    "data_set": (0x0800, "US"), "status": (0x0900, "US"), "comment": (0x0902, "LO"), "sop_instance": (0x1000, "UI"),
    "remaining": (0x1020, "US"), "completed": (0x1021, "US"), "failed": (0x1022, "US"), "warning": (0x1023, "US"),
}
COMMAND_NAMES = {element: (name, vr) for name, (element, vr) in COMMAND.items()}


class Refused(Exception):
    """The peer refused, aborted or broke off."""


def padded(text, pad=" "):
    value = text.encode() if isinstance(text, str) else text
    return value + pad.encode() * (len(value) % 2)


def element(tag, value):
    """An element in Implicit VR Little Endian."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def identifier(keys):
    """An identifier in Implicit VR Little Endian from {tag: text}; UIDs are padded with NUL."""
    uids = {0x00080018, 0x0020000D, 0x0020000E}
    return b"".join(element(tag, padded(keys[tag], "\0" if tag in uids else " ")) for tag in sorted(keys))


def command_set(**fields):
    body = b""
    for name, (number, vr) in COMMAND.items():
        if name in fields:
            value = fields[name]
            body += element(number, struct.pack("<H", value) if vr == "US" else padded(value, "\0" if vr == "UI" else " "))
    return element(0, struct.pack("<I", len(body))) + body


def parse_command(data):
    fields, at = {}, 0
    while at + 8 <= len(data):
        _, number, length = struct.unpack_from("<HHI", data, at)
        value = data[at + 8 : at + 8 + length]
        at += 8 + length
        if number in COMMAND_NAMES:
            name, vr = COMMAND_NAMES[number]
            fields[name] = struct.unpack("<H", value)[0] if vr == "US" else value.rstrip(b"\0 ").decode("latin-1")
    return fields


def item(kind, value):
    return struct.pack(">BBH", kind, 0, len(value)) + value


def items(data):
    """(type, value) of each item in a row of items."""
    at = 0
    while at + 4 <= len(data):
        kind, _, length = struct.unpack_from(">BBH", data, at)
        yield kind, bytes(data[at + 4 : at + 4 + length])
        at += 4 + length


def user_information(roles=()):
    value = item(0x51, struct.pack(">I", MAX_PDU)) + item(0x52, IMPLEMENTATION)
    for sop_class in roles:
        # SCP role only: the other side is to send these to us (PS3.7 D.3.3.4).
        value += item(0x54, struct.pack(">H", len(sop_class)) + sop_class.encode() + bytes([0, 1]))
    return item(0x50, value)


class Connection:
    """PDUs and messages on a connected socket."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(TIMEOUT_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(2 << 20)
        self.view = memoryview(self.buffer)
        self.start = self.end = 0
        self.max_pdu = MAX_PDU

    def fill(self, size):
        """Reads until `size` bytes are buffered."""
        if self.start + size > len(self.buffer):
            rest = bytes(self.view[self.start : self.end])
            if size > len(self.buffer):
                self.view.release()
                self.buffer = bytearray(size)
                self.view = memoryview(self.buffer)
            self.view[: len(rest)] = rest
            self.start, self.end = 0, len(rest)
        while self.end - self.start < size:
            count = self.sock.recv_into(self.view[self.end :])
            if count == 0:
                raise Refused("the peer closed the connection")
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self.end += count

    def pdu(self):
        """The next PDU: its type and its body, which lives until the next call."""
        if self.start == self.end:
            self.start = self.end = 0
        self.fill(6)
        kind, _, length = struct.unpack_from(">BBI", self.buffer, self.start)
        self.fill(6 + length)
        body = self.view[self.start + 6 : self.start + 6 + length]
        self.start += 6 + length
        return kind, body

    def message(self, keep=True):
        """The next message: (command, data set fragments). None after the peer's A-RELEASE-RQ, which is answered.
        With keep=False the fragments of a data set are counted, not kept: (command, number of bytes)."""
        command, encoded, fragments, size = None, b"", [], 0
        while True:
            kind, body = self.pdu()
            if kind == 5:
                self.sock.sendall(b"\6\0\0\0\0\4\0\0\0\0")
                return None
            if kind != 4:
                raise Refused(f"PDU type {kind} in place of P-DATA: {bytes(body).hex()}")
            at = 0
            while at < len(body):
                length, context, flags = struct.unpack_from(">IBB", body, at)
                fragment = body[at + 6 : at + 4 + length]
                at += 4 + length
                if flags & 1:
                    encoded += bytes(fragment)
                    if flags & 2:
                        command = parse_command(encoded)
                        command["context"] = context
                        if command["data_set"] == NO_DATA_SET:
                            return command, ([] if keep else 0)
                    continue
                size += len(fragment)
                if keep:
                    fragments.append(bytes(fragment))
                if flags & 2:
                    return command, (fragments if keep else size)

    def send(self, context, fields, data=None):
        """Sends a message in one write."""
        fields.setdefault("data_set", NO_DATA_SET if data is None else 1)
        out = []
        for flag, encoded in ((1, command_set(**fields)), (0, data)):
            at = 0
            while encoded is not None and (at < len(encoded) or at == 0):
                part = encoded[at : at + self.max_pdu - 6]
                at += max(len(part), 1)
                flags = flag | (2 if at >= len(encoded) else 0)
                out.append(struct.pack(">BBIIBB", 4, 0, len(part) + 6, len(part) + 2, context, flags) + part)
        self.sock.sendall(b"".join(out))

    def answer_store(self, request, status=0):
        self.send(request["context"], {
            "sop_class": request["sop_class"], "command": C_STORE_RSP, "responding_to": request["message_id"],
            "status": status, "sop_instance": request["sop_instance"],
        })


class Association(Connection):
    """An association as its requestor. `contexts` is a list of (abstract syntax, [transfer syntaxes])."""

    def __init__(self, host, port, called, contexts, calling="REFERENCE", roles=()):
        if len(contexts) > 128:
            raise ValueError("an association has 128 presentation contexts at most")
        super().__init__(socket.create_connection((host, port), timeout=TIMEOUT_SECONDS))
        body = struct.pack(">HH", 1, 0) + called.encode().ljust(16) + calling.encode().ljust(16) + bytes(32)
        body += item(0x10, APPLICATION_CONTEXT)
        for number, (abstract, syntaxes) in enumerate(contexts):
            body += item(0x20, bytes([2 * number + 1, 0, 0, 0]) + item(0x30, abstract.encode())
                         + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes))
        body += user_information(roles)
        self.sock.sendall(struct.pack(">BBI", 1, 0, len(body)) + body)
        kind, body = self.pdu()
        if kind != 2:
            raise Refused(f"association refused: PDU type {kind}, {bytes(body).hex()}")
        self.accepted = {}  # context ID -> (abstract syntax, transfer syntax)
        for kind, value in items(body[68:]):
            if kind == 0x21 and value[2] == 0:
                syntax = next((v.rstrip(b"\0").decode() for k, v in items(value[4:]) if k == 0x40), "")
                self.accepted[value[0]] = (contexts[(value[0] - 1) // 2][0], syntax)
            if kind == 0x50:
                for sub, maximum in items(value):
                    if sub == 0x51:
                        peer = struct.unpack(">I", maximum)[0]
                        self.max_pdu = min(peer, MAX_PDU) if peer else MAX_PDU
        self.message_id = 0

    def request(self, abstract, command, data=None, **fields):
        context = next((number for number, (name, _) in self.accepted.items() if name == abstract), None)
        if context is None:
            raise Refused(f"no context was accepted for {abstract}")
        self.message_id += 1
        self.send(context, {"sop_class": abstract, "command": command, "message_id": self.message_id,
                            "priority": 0, **fields}, data)

    def echo(self):
        self.request(VERIFICATION, C_ECHO_RQ)
        command, _ = self.message()
        return command["status"]

    def find(self, keys, model=STUDY_ROOT_FIND):
        """The matches' encoded identifiers, and the final command."""
        self.request(model, C_FIND_RQ, identifier(keys))
        matches = []
        while True:
            command, fragments = self.message()
            if command["status"] not in PENDING:
                return matches, command
            matches.append(b"".join(fragments))

    def get(self, keys, on_object, keep=True, model=STUDY_ROOT_GET):
        """on_object(request, transfer syntax, fragments or size) for each object; the final command."""
        self.request(model, C_GET_RQ, identifier(keys))
        while True:
            command, data = self.message(keep)
            if command["command"] == C_STORE_RQ:
                on_object(command, self.accepted[command["context"]][1], data)
                self.answer_store(command)
            elif command["status"] not in PENDING:
                return command

    def move(self, keys, destination, model=STUDY_ROOT_MOVE):
        """The final command of a C-MOVE to the AE title `destination`."""
        self.request(model, C_MOVE_RQ, identifier(keys), destination=destination)
        while True:
            command, _ = self.message()
            if command["status"] not in PENDING:
                return command

    def release(self):
        self.sock.sendall(b"\5\0\0\0\0\4\0\0\0\0")
        while self.pdu()[0] != 6:
            pass
        self.sock.close()


class StorageSCP:
    """Listens on loopback and gives every object to on_object(request, transfer syntax, fragments or size).
    Of each context the first transfer syntax that was proposed is accepted."""

    def __init__(self, port, on_object, keep=True):
        self.listener = socket.create_server(("127.0.0.1", port))
        self.on_object, self.keep = on_object, keep
        self.error = None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            connection = Connection(sock)
            kind, body = connection.pdu()
            if kind != 1:
                return
            answer = bytes(body[:68]) + item(0x10, APPLICATION_CONTEXT)
            syntaxes = {}
            for kind, value in items(body[68:]):
                if kind == 0x20:
                    chosen = next(v for k, v in items(value[4:]) if k == 0x40)
                    syntaxes[value[0]] = chosen.rstrip(b"\0").decode()
                    answer += item(0x21, bytes([value[0], 0, 0, 0]) + item(0x40, chosen))
                if kind == 0x50:
                    for sub, maximum in items(value):
                        if sub == 0x51:
                            connection.max_pdu = struct.unpack(">I", maximum)[0] or MAX_PDU
            answer += user_information()
            sock.sendall(struct.pack(">BBI", 2, 0, len(answer)) + answer)
            while True:
                message = connection.message(self.keep)
                if message is None:
                    return
                command, data = message
                if command["command"] == C_ECHO_RQ:
                    connection.send(command["context"], {"sop_class": VERIFICATION, "command": C_ECHO_RSP,
                                                         "responding_to": command["message_id"], "status": 0})
                else:
                    self.on_object(command, syntaxes[command["context"]], data)
                    connection.answer_store(command)
        except Refused:
            pass  # the archive went: what it reports about that is what the caller looks at
        except Exception as error:  # noqa: BLE001 - handed to the thread that looks at the result
            self.error = error
        finally:
            sock.close()

    def close(self):
        self.listener.close()
