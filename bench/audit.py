#!/usr/bin/env python3
"""10,000 operations while the syslog receiver is away for a minute: what comes of them when it is back, over TLS with certificates on
both sides, and what clients notice, beside a bridge that records nothing.

    cargo build --release && bench/audit.py
"""

import base64
import json
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fleet import LOOPBACK, ROOT, free_port

ROUNDS, IN_A_ROUND, WARM_UP = 50, 200, 200
AWAY, PATIENCE = 60, 120
LIMIT = 1.1
LONGEST = 32 << 10
JSON = {"Accept": "application/dicom+json"}


def certificate(folder, name):
    """A certificate that has signed itself, and its key."""
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE",
                    "-days", "2", "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


class Receiver:
    """A receiver of RFC 5425 that reads to the letter."""

    def __init__(self, port, own, clients):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*own)
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server((LOOPBACK, port))
        self.listener.settimeout(PATIENCE)
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        self.stream = context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        self.buffer = b""

    def more(self):
        """Whether more has come; not so after a goodbye."""
        got = self.stream.recv(1 << 16)
        self.buffer += got
        return bool(got)

    def message(self):
        """The next message; none after a goodbye."""
        while b" " not in self.buffer[:8]:
            if not self.more():
                if self.buffer:
                    raise SystemExit("the trail ended within a message")
                return None
        length, _, rest = self.buffer.partition(b" ")
        if not re.fullmatch(rb"[1-9][0-9]*", length) or int(length) > LONGEST:
            raise SystemExit(f"no length: {length[:20]}")
        while len(rest) < int(length):
            if not self.more():
                raise SystemExit("the trail ended within a message")
            rest = self.buffer[len(length) + 1:]
        self.buffer = rest[int(length):]
        return rest[:int(length)].decode()


def operation(message):
    """What a message is about: the number of a search, or a word."""
    query = re.search("<ParticipantObjectQuery>([^<]*)", message)
    if query:
        return int(base64.b64decode(query[1]).decode().split("PatientID=")[1])
    return re.search('<EventID csd-code="[0-9]*" codeSystemName="DCM" originalText="([^"]*)"', message)[1]


class Client:
    """One connection, and how long each request over it took, by its kind."""

    def __init__(self, port):
        self.connection = socket.create_connection((LOOPBACK, port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.took = {}

    def get(self, kind, path, headers):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n{lines}\r\n".encode()
        begin = time.perf_counter()
        self.connection.sendall(request)
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += self.connection.recv(1 << 16)
        head, _, body = buffer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 20"):
            raise SystemExit(head.decode())
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", 0)):
            body += self.connection.recv(1 << 16)
        self.took.setdefault(kind, []).append(time.perf_counter() - begin)
        return body


def wait_for(port):
    while True:
        try:
            return socket.create_connection((LOOPBACK, port)).close()
        except OSError:
            time.sleep(0.05)


def serve(gantry, folder, name, pacs, more):
    port, file = free_port(), folder / f"{name}.toml"
    file.write_text(f'[http]\nlisten = "{LOOPBACK}:{port}"\n[dimse]\nlisten = "{LOOPBACK}:{free_port()}"\n[log]\nfilter = "error"\n'
                    f'[archive.main]\nae_title = "PACS"\naddress = "{LOOPBACK}:{pacs}"\n[cache]\nttl = "1h"\n{more}')
    process = subprocess.Popen([gantry, "serve", "--config", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port)
    return process, port


def load(clients, path):
    """The operations, by turns at either bridge; what was done at each."""
    done, begin = [], time.monotonic()
    for number in range(ROUNDS):
        # Whoever comes first after a pause is the slower one.
        for client in clients if number % 2 else reversed(clients):
            for turn in range(IN_A_ROUND // 2):
                search = number * IN_A_ROUND // 2 + turn
                client.get("search", f"/dicom-web/studies?PatientID={search}", JSON)
                client.get("frame", path, {})
                if client is clients[0]:
                    done += [search, "DICOM Instances Transferred"]
        time.sleep(max(0, begin + AWAY * (number + 1) / ROUNDS - time.monotonic()))
    return done


def main():
    gantry = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target/release/gantry"
    folder, processes = Path(tempfile.mkdtemp(prefix="gantry-audit-")), []
    own, bridges = certificate(folder, "receiver"), certificate(folder, "bridge")
    pacs, port = free_port(), free_port()
    audit = (f'[audit]\nspool = {{ path = "{folder}/spool" }}\n[audit.syslog]\naddress = "localhost:{port}"\n'
             f'tls = {{ ca = "{own[0]}", certificate = "{bridges[0]}", key = "{bridges[1]}" }}\n')
    try:
        processes.append(subprocess.Popen([gantry, "pacs", "--listen", f"{LOOPBACK}:{pacs}", "--studies", "2", "--plain", "8192"],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(pacs)
        clients = []
        for name, more in (("recorded", audit), ("silent", "")):
            process, http = serve(gantry, folder, name, pacs, more)
            processes.append(process)
            clients.append(Client(http))
        uids = json.loads(clients[1].get("", "/dicom-web/instances?limit=1", JSON))[0]
        study, series, instance = (uids[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
        path = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/1"
        for client in clients:
            for _ in range(WARM_UP):
                client.get("", path, {})
        done = load(clients, path)
        receiver, begin, came = Receiver(port, own, bridges[0]), time.monotonic(), []
        expected = ["Application Activity"] + ["DICOM Instances Transferred"] * WARM_UP + done
        while len(came) < len(expected):
            came.append(receiver.message())
        took = time.monotonic() - begin
        processes[1].terminate()
        while message := receiver.message():
            came.append(message)
        receiver.stream.close()
        processes[1].wait()
    finally:
        for process in processes:
            process.terminate()
            process.wait()
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text("\n".join(message.partition("\ufeff")[2] for message in came))
    right = [operation(message) for message in came] == expected + ["Application Activity"]
    print(f"{len(done)} operations in {AWAY} s without a receiver; {len(came)} messages {took:.1f} s after it came back, "
          f"{'each in order and once' if right else 'NOT as they should be'}")
    for kind in ("search", "frame"):
        each = IN_A_ROUND // 2
        rounds = [[statistics.median(client.took[kind][at:at + each]) for at in range(0, ROUNDS * each, each)] for client in clients]
        with_it, without = (statistics.median(medians) * 1e6 for medians in rounds)
        ratio = statistics.median(one / other for one, other in zip(*rounds))
        print(f"{kind}: median {with_it:.0f} µs recorded, {without:.0f} µs not recorded; median ratio of {ROUNDS} rounds {ratio:.3f} (at most {LIMIT})")
        right &= ratio <= LIMIT
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
