"""Peers of DIMSE that do as an attack tells them: an archive with a script, TLS that lies about who it is, a client from any address."""

import socket
import ssl
import struct
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/peers"))
import rawdimse  # noqa: E402 - stands beside the tests, which need it too; others have it from here
from rawdimse import Refused, item, items  # noqa: E402

LOOPBACK = "127.0.0.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
LONG = ("OB", "OW", "SQ", "UN", "UT", "UC", "UR", "OD", "OF", "OL")


def explicit(*elements):
    """A data set in Explicit VR Little Endian, of (tag, VR, value)."""
    out = b""
    for tag, vr, value in elements:
        value = value.encode() if isinstance(value, str) else value
        value += (b"\0" if vr in ("UI", "OB", "UN") else b" ") * (len(value) % 2)
        size = struct.pack("<HI", 0, len(value)) if vr in LONG else struct.pack("<H", len(value))
        out += struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + size + value
    return out


def image(study, series, instance, *more, sop_class=CT, patient="4711"):
    """The data set of an object, in the order of its tags as far as `more` keeps it."""
    return explicit((0x00080016, "UI", sop_class), (0x00080018, "UI", instance), (0x00080060, "CS", "CT"), (0x00100020, "LO", patient),
                    (0x0020000D, "UI", study), (0x0020000E, "UI", series), *more)


def part10(data, instance, sop_class=CT, syntax=rawdimse.EXPLICIT_LE):
    """A file of PS3.10."""
    meta = explicit((0x00020001, "OB", b"\0\1"), (0x00020002, "UI", sop_class), (0x00020003, "UI", instance), (0x00020010, "UI", syntax),
                    (0x00020012, "UI", "2.25.1"))
    return bytes(128) + b"DICM" + explicit((0x00020000, "UL", struct.pack("<I", len(meta)))) + meta + data


def keys_of(data):
    """{tag: text} of an identifier in Implicit VR Little Endian."""
    out, at = {}, 0
    while at + 8 <= len(data):
        group, number, length = struct.unpack_from("<HHI", data, at)
        out[group << 16 | number] = data[at + 8:at + 8 + length].rstrip(b" \0").decode("latin-1")
        at += 8 + length
    return out


class Bound(rawdimse.Association):
    """A client's association, from an address that it chooses, and perhaps over TLS. `calling` and `called` may be any bytes."""

    def __init__(self, host, port, called, contexts, calling, source, tls=None, roles=()):
        kept = socket.create_connection

        def connect(address, timeout=None):
            sock = kept(address, timeout=timeout, source_address=(source, 0))
            return tls.wrap_socket(sock, server_hostname="localhost") if tls else sock

        # The one place where the parent connects.
        rawdimse.socket = type("Sockets", (), {**vars(socket), "create_connection": staticmethod(connect)})
        try:
            super().__init__(host, port, called, contexts, calling, roles)
        finally:
            rawdimse.socket = socket
        self.sock.settimeout(20)


@dataclass
class Object:
    study: str
    series: str
    instance: str
    data: bytes
    sop_class: str = CT
    syntax: str = rawdimse.EXPLICIT_LE


class Scripted:
    """An archive: what it holds are `objects`; `on_find(connection, command, keys)` and `on_get` answer in its place where they are set."""

    def __init__(self):
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port, self.open = self.listener.getsockname()[1], set()
        self.reset()
        threading.Thread(target=self.accept, daemon=True).start()

    def reset(self, *objects, on_find=None, on_get=None, on_associate=None):
        """Begins another script; what is open is closed."""
        self.objects, self.on_find, self.on_get, self.on_associate = objects, on_find, on_get, on_associate
        self.seen = []
        for sock in list(self.open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # its end has closed it

    def accept(self):
        while True:
            sock, _ = self.listener.accept()
            self.open.add(sock)
            threading.Thread(target=self.serve, args=(sock, ), daemon=True).start()

    def serve(self, sock):
        try:
            connection = rawdimse.Connection(sock)
            kind, body = connection.pdu()
            if kind != 1:
                return
            if self.on_associate:
                self.on_associate(connection, bytes(body))
                return
            self.negotiate(connection, bytes(body))
            while (message := connection.message()) is not None:
                command, data = message
                self.seen.append(command["command"])
                self.answer(connection, command, keys_of(b"".join(data)))
        except (Refused, OSError, struct.error):
            pass  # the bridge went, which is its right
        finally:
            self.open.discard(sock)
            sock.close()

    def negotiate(self, connection, body):
        answer, roles, connection.syntaxes = body[:68] + item(0x10, rawdimse.APPLICATION_CONTEXT), b"", {}
        wanted = {one.syntax for one in self.objects}
        for kind, value in items(body[68:]):
            if kind == 0x20:
                abstract = next(v for k, v in items(value[4:]) if k == 0x30).rstrip(b"\0").decode()
                offered = [v.rstrip(b"\0").decode() for k, v in items(value[4:]) if k == 0x40]
                images = abstract.startswith("1.2.840.10008.5.1.4.1.1.")
                own = [syntax for syntax in offered if syntax in wanted] if images else []
                fits = own or [syntax for syntax in offered if syntax == rawdimse.IMPLICIT_LE] or offered
                connection.syntaxes[value[0]] = abstract, fits[0]
                answer += item(0x21, bytes([value[0], 0, 0, 0]) + item(0x40, fits[0].encode()))
            if kind == 0x50:
                for sub, inner in items(value):
                    if sub == 0x51:
                        connection.max_pdu = struct.unpack(">I", inner)[0] or rawdimse.MAX_PDU
                    if sub == 0x54:
                        roles += item(0x54, inner)
        information = item(0x51, struct.pack(">I", rawdimse.MAX_PDU)) + item(0x52, rawdimse.IMPLEMENTATION) + roles
        answer += item(0x50, information)
        connection.sock.sendall(struct.pack(">BBI", 2, 0, len(answer)) + answer)

    def answer(self, connection, command, keys):
        kind = command["command"]
        if kind == rawdimse.C_FIND_RQ:
            (self.on_find or self.find)(connection, command, keys)
        elif kind == rawdimse.C_GET_RQ:
            (self.on_get or self.get)(connection, command, keys)
        elif kind != 0x0FFF:  # C-CANCEL has no answer
            respond(connection, command, 0)

    def find(self, connection, command, keys):
        level = keys.get(0x00080052, "STUDY")
        seen = set()
        for one in self.wanted(keys):
            unique = {"STUDY": one.study, "SERIES": one.series}.get(level, one.instance)
            if unique not in seen:
                seen.add(unique)
                self.match(connection, command, one, level)
        respond(connection, command, 0)

    def match(self, connection, command, one, level, **changed):
        values = {0x00080052: level, 0x0020000D: one.study, 0x00100020: "4711", 0x00080061: "CT", 0x00080060: "CT"}
        if level != "STUDY":
            values[0x0020000E] = one.series
        if level == "IMAGE":
            values |= {0x00080016: one.sop_class, 0x00080018: one.instance}
        counts = {0x00201208: lambda o: o.study == one.study, 0x00201209: lambda o: o.series == one.series}
        values |= {tag: str(sum(map(of, self.objects))) for tag, of in counts.items()} | changed.get("changed", {})
        data = b"".join(
            rawdimse.element(tag, rawdimse.padded(str(value), "\0" if tag in UIDS else " ")) for tag, value in sorted(values.items()))
        respond(connection, command, 0xFF00, data)

    def wanted(self, keys):

        def fits(one):
            return all(tag not in keys or not keys[tag] or getattr(one, name) in keys[tag].split("\\")
                       for tag, name in ((0x0020000D, "study"), (0x0020000E, "series"), (0x00080018, "instance")))

        return [one for one in self.objects if fits(one)]

    def get(self, connection, command, keys):
        wanted = self.wanted(keys)
        for number, one in enumerate(wanted, 1):
            store(connection, one, number)
            connection.message()
        respond(connection, command, 0, completed=len(wanted), failed=0, warning=0)


UIDS = {0x0020000D, 0x0020000E, 0x00080016, 0x00080018}


def respond(connection, command, status, data=None, **more):
    connection.send(
        command["context"], {
            "sop_class": command["sop_class"], "command": command["command"] | 0x8000, "responding_to": command["message_id"],
            "status": status, **more
        }, data)


def context_for(connection, one):
    fits = [number for number, (abstract, syntax) in connection.syntaxes.items() if abstract == one.sop_class and syntax == one.syntax]
    if not fits:
        raise Refused("no context for it")
    return fits[0]


def store(connection, one, message_id):
    connection.send(
        context_for(connection, one),
        {"sop_class": one.sop_class, "command": rawdimse.C_STORE_RQ, "message_id": message_id, "priority": 0, "sop_instance": one.instance},
        one.data)


def relay(sock, port):
    """Passes bytes both ways between a connection and an archive."""
    behind = socket.create_connection((LOOPBACK, port))

    def copy(source, target):
        try:
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        except OSError:
            pass
        finally:
            for one in (source, target):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    for ends in ((sock, behind), (behind, sock)):
        threading.Thread(target=copy, args=ends, daemon=True).start()


def terminator(port, certificate, key, change=lambda context: None):
    """Speaks TLS before an archive, as `change` has it; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    change(context)
    listener = socket.create_server((LOOPBACK, 0))

    def accept():
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=greet, args=(sock, ), daemon=True).start()

    def greet(sock):
        try:
            relay(context.wrap_socket(sock, server_side=True), port)
        except OSError:
            sock.close()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def old(version):

    def change(context):
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version

    return change


def impostors(pki, port):
    """Who pretends, on the way to the archive, to be it: ports by the names that they have as archives. The first is the real one."""
    pki.issue("wrongname", "/CN=other", "DNS:other.example", "IP:127.0.0.2")
    pki.issue("expired", "/CN=archive", "DNS:localhost", days=-1)
    pki.issue("stranger", "/CN=archive", "DNS:localhost", by="mallory")
    # The common name alone names no host.
    pki.issue("commonname", "/CN=localhost", "email:somebody@hospital.example")

    def shows(name, **more):
        return terminator(port, pki.pem(name), pki.key(name), **more)

    return {
        "secure": shows("server"), "selfsigned": shows("device"), "stranger": shows("stranger"), "wrongname": shows("wrongname"),
        "expired": shows("expired"), "commonname": shows("commonname"), "plaintext": port, "tls10": shows("server",
                                                                                                          change=old(ssl.TLSVersion.TLSv1)),
        "tls11": shows("server", change=old(ssl.TLSVersion.TLSv1_1)),
        "weak": shows("server",
                      change=lambda context:
                      (setattr(context, "maximum_version", ssl.TLSVersion.TLSv1_2), context.set_ciphers("AES128-SHA:@SECLEVEL=0")))
    }
