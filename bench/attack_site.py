"""A site as a careful operator sets it up: `gantry serve` with TLS, rights and limits before several archives, on loopback.

Its own users come from 127.0.0.1; whoever attacks comes from another address, which nothing names.
"""

import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import time
from pathlib import Path

import attack_peers
from access import Issuer as OneKey
from access import text
from attack_wire import ask, parts
from fleet import LOOPBACK, Server, free_port, scratch

from attack_peers import rawdimse

# Archives that are rude, by their names in URLs: faults of `gantry pacs`.
RUDE = {
    "foreign": ["foreign:2"],
    "otherinstance": ["other-instance:2"],
    "othersyntax": ["other-syntax:2"],
    "twice": ["twice-different:2"],
    "leaveout": ["leave-out:2", "no-counters"],
    "short": ["leave-out:2"],
    "failing": ["fail-object:2"],
    "abortin": ["abort-in:2"],
    "closein": ["close-in:2"],
    "stallin": ["stall-in:2"],
    "findfails": ["find-failure-after:1"],
    "findcloses": ["find-close-after:1"],
    "findstalls": ["find-stall-after:1"],
    "backwards": ["counters-backwards"],
    "wrongid": ["wrong-message-id:2"],
    "huge": ["pdu-4gib:2"],
    "garbage": ["garbage:2"],
    "storefails": ["store-failure"],
    "refuses": ["refuse"],
    "half": ["half-answer"],
}
STUDIES = ["--studies", "4", "--slices", "6", "--plain", "300000"]
# Of the process, over what it holds after the first requests: the cache's memory, and what the allocator keeps for a while.
MEMORY_SLACK = 160 << 20
DESCRIPTORS_SLACK = 16
RECOVERY_SECONDS = 25


class Succeeded(Exception):
    """An attack that nothing has stopped."""


def openssl(*arguments, **more):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **more).stdout


class Pki:
    """Certificates: an authority of the site's own, and what others would like to pass for it."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("ca", "mallory"):
            openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key(name), "-out", self.pem(name), "-subj",
                    f"/CN={name}", "-days", "30", "-addext", "basicConstraints=critical,CA:TRUE")
        self.issue("server", "/CN=bridge", "DNS:localhost", "IP:127.0.0.1")
        self.issue("ward", "/O=Hospital/CN=WARD", "email:ward@hospital.example")
        self.issue("viewer", "/O=Hospital/CN=VIEWER", "email:viewer@hospital.example")
        # A device with a certificate that it has signed itself, and that is listed as one to trust.
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key("device"), "-out", self.pem("device"), "-subj",
                "/O=Hospital/CN=DEVICE", "-days", "30", "-addext", "basicConstraints=critical,CA:FALSE")
        self.pem("clients").write_text(self.pem("ca").read_text() + self.pem("device").read_text())

    def pem(self, name):
        return self.folder / f"{name}.pem"

    def key(self, name):
        return self.folder / f"{name}.key"

    def issue(self, name, subject, *names, by="ca", days=30):
        request = openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key(name), "-subj", subject)
        extensions = self.folder / f"{name}.ext"
        lines = "".join("{}.{} = {}\n".format(name.partition(":")[0], number, name.partition(":")[2]) for number, name in enumerate(names))
        extensions.write_text(f"basicConstraints=critical,CA:FALSE\nsubjectAltName=@names\n[names]\n{lines}")
        self.pem(name).write_bytes(
            openssl("x509",
                    "-req",
                    "-CA",
                    self.pem(by),
                    "-CAkey",
                    self.key(by),
                    "-days",
                    days,
                    "-CAcreateserial",
                    "-extfile",
                    extensions,
                    input=request))


class Issuer(OneKey):
    """Signs whatever it is told to, also as others would."""

    def claims(self, **more):
        claims = {"iss": self.url, "aud": "gantry", "sub": "jane", "exp": int(time.time()) + 3600, "scope": "reader", **more}
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, claims, header=None, sign=None):
        header = {"alg": "RS256", "kid": "1", "typ": "JWT"} if header is None else header
        signed = ".".join(text(json.dumps(part).encode()) for part in (header, claims))
        signature = (sign or self.rsa)(signed.encode())
        return f"{signed}.{text(signature)}"

    def rsa(self, data, key=None):
        return openssl("dgst", "-sha256", "-sign", key or self.key, input=data)

    def good(self, **more):
        return self.sign(self.claims(**more))


class Site:
    """The bridge, its archives, and its users."""

    def __init__(self, gantry, rude=RUDE, patience="4s", rate="rate = 300", holds=STUDIES):
        self.gantry, self.folder, self.servers = gantry, scratch("attack"), []
        self.patience, self.rate, self.holds = patience, rate, holds
        self.pki, self.issuer = Pki(self.folder), Issuer(self.folder)
        self.http, self.dimse, self.dimse_tls = free_port(), free_port(), free_port()
        self.tokens = {name: self.token(name) for name in ("viewer", "operator", "sender", "leaver", "oneparty")}
        self.write_tokens()
        hashed = subprocess.run([gantry, "password", "anna"], input=b"correct horse\n", check=True, capture_output=True).stdout.decode()
        (self.folder / "passwords.toml").write_text(hashed)
        self.archives = {
            "main": self.pacs("PACS", holds=self.holds), "slowmover": self.pacs("SLOWMOVER",
                                                                                "--no-get",
                                                                                "--fault",
                                                                                "objects-slow:150",
                                                                                moves=True)
        }
        self.archives |= {
            name: self.pacs(name.upper(), *(word for fault in faults for word in ("--fault", fault)))
            for name, faults in rude.items()
        }
        self.archives["sink"] = self.pacs("SINK", "--fault", "store-discard")
        self.scripted = attack_peers.Scripted()
        self.archives["scripted"] = self.scripted.port
        self.silent_syslog = socket.create_server((LOOPBACK, 0))
        self.impostors = attack_peers.impostors(self.pki, self.archives["main"])
        self.start()
        if self.holds is STUDIES:
            self.normal()

    def token(self, name):
        words = subprocess.run([self.gantry, "token", name], check=True, capture_output=True).stdout.decode().split()
        return next(word for word in words if word.startswith("gantry_"))

    def write_tokens(self, leave_out=()):
        allow = {
            "viewer": '["search", "retrieve"]', "operator": '["admin"]', "sender": '["store:main", "search:main"]', "leaver": '["search"]',
            "oneparty": '["search", "retrieve"]'
        }
        confined = {"oneparty": 'patients = ["NOBODY-4711"]\n'}
        lines = [
            f'[{name}]\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nallow = {allow[name]}\n{confined.get(name, "")}'
            for name, token in self.tokens.items() if name not in leave_out
        ]
        new = self.folder / "tokens.new"
        new.write_text("".join(lines))
        new.rename(self.folder / "tokens.toml")

    def pacs(self, title, *options, moves=False, holds=STUDIES):
        port, folder = free_port(), scratch("pacs")
        known = ["--destination", f"GANTRY={LOOPBACK}:{self.dimse}"] if moves else []
        self.servers.append(
            Server(title, folder, [self.gantry, "pacs", "--listen", f"{LOOPBACK}:{port}", "--ae-title", title, *holds, *known, *options],
                   [port]))
        return port

    def configuration(self):
        pki, folder = self.pki, self.folder
        archives = ""
        for name, port in self.archives.items():
            title = {"main": "PACS"}.get(name, name.upper())
            archives += (
                f'[archive.{name}]\nae_title = "{title}"\naddress = "{LOOPBACK}:{port}"\n' +
                (f'called_as = ["{title}"]\n' if name != "main" else "") +
                '[archive.%s.timeouts]\nconnect = "2s"\nassociation = "3s"\nsilence = "4s"\noperation = "30m"\nidle = "2s"\n' % name)
        for name, port in self.impostors.items():
            archives += (f'[archive.{name}]\nae_title = "PACS"\naddress = "localhost:{port}"\n'
                         f'tls = {{ ca = "{pki.pem("ca")}" }}\ntimeouts = {{ connect = "2s", association = "2s" }}\n')
        return f"""
default_archive = "main"
[http]
listen = "{LOOPBACK}:{self.http}"
header_timeout = "{self.patience}"
write_timeout = "{self.patience}"
read_timeout = "{self.patience}"
cors_origins = ["https://viewer.example"]
max_connections = 2048
[http.limits]
max_head = "32KiB"
max_query = "8KiB"
max_body = "64MiB"
max_part = "16MiB"
max_results = 1000
max_frames = 64
max_requests_per_client = 64
{self.rate}
[http.tls]
certificate = "{pki.pem("server")}"
key = "{pki.key("server")}"
client_certificates = "optional"
client_ca = "{pki.pem("clients")}"
[auth.oidc]
issuer = "{self.issuer.url}"
audience = "gantry"
clock_skew = "1s"
[auth.scopes]
reader = ["search", "retrieve"]
"patient/reader" = ["search", "retrieve"]
[auth.tokens]
file = "{folder}/tokens.toml"
[auth.basic]
file = "{folder}/passwords.toml"
[auth.certificates]
"CN=VIEWER,O=Hospital" = ["search", "retrieve"]
[dimse]
listen = "{LOOPBACK}:{self.dimse}"
timeouts = {{ artim = "{self.patience}", idle = "6s", read = "4s", write = "4s" }}
[dimse.tls]
listen = "{LOOPBACK}:{self.dimse_tls}"
certificate = "{pki.pem("server")}"
key = "{pki.key("server")}"
client_certificates = "required"
client_ca = "{pki.pem("clients")}"
[ae.CT1]
allow_from = ["{LOOPBACK}"]
allow = ["echo", "find", "store"]
archives = ["main"]
[ae.READER]
allow_from = ["127.0.0.0/24"]
allow = ["echo", "find", "get"]
[ae.CT9]
allow_from = ["{LOOPBACK}"]
allow = ["echo", "store"]
archives = ["sink"]
[ae.WARD]
certificate_subject = "CN=WARD,O=Hospital"
allow = ["echo", "find"]
{archives}
[cache]
memory = "64MiB"
ttl = "5s"
[cache.disk]
path = "{folder}/cache"
size = "128MiB"
[state]
path = "{folder}/state"
[audit]
site = "attacked"
[audit.file]
path = "{folder}/audit.jsonl"
[audit.syslog]
address = "{LOOPBACK}:{self.silent_syslog.getsockname()[1]}"
transport = "tcp"
[audit.spool]
path = "{folder}/spool"
size = "4MiB"
"""

    def start(self):
        (self.folder / "gantry.toml").write_text(self.configuration())
        self.bridge = Server("gantry", self.folder, [self.gantry, "serve", "--config", self.folder / "gantry.toml"],
                             [self.http, self.dimse, self.dimse_tls])
        self.studies = ()
        self.studies = self.listed()
        self.study = self.studies[0]
        if self.holds is STUDIES:
            self.whole = {study: self.objects("main", study) for study in self.studies}
        self.baseline = self.descriptors(), self.memory()

    # What the site's own users see.

    def get(self, path, token="viewer", **more):
        return ask(self, path, token=self.tokens.get(token, token), **more)

    def listed(self):
        reply = self.get("/dicom-web/studies", source=LOOPBACK)
        listed = sorted(one["0020000D"]["Value"][0] for one in json.loads(reply.body))
        # An attack may have stored what anybody may store.
        return [study for study in listed if study in (self.studies or listed)]

    def objects(self, archive, study, **more):
        """Digests of a study's objects, by what came whole; an answer that is none raises."""
        reply = self.get(f"/archives/{archive}/studies/{study}", source=LOOPBACK, **more)
        if reply.status != 200 or not reply.whole:
            raise LookupError(f"{reply.status}, {'whole' if reply.whole else 'broken off'}")
        return digests(parts(reply))

    def associate(self, calling="CT1", called="GANTRY", contexts=None, source=LOOPBACK, **more):
        contexts = contexts or [(rawdimse.VERIFICATION, [rawdimse.IMPLICIT_LE]), (rawdimse.STUDY_ROOT_FIND, [rawdimse.IMPLICIT_LE])]
        return attack_peers.Bound(LOOPBACK, self.dimse, called, contexts, calling, source=source, **more)

    def normal(self):
        """Does what users do, and holds it against what they got at first."""
        if self.bridge.process.poll() is not None:
            raise Succeeded(f"the bridge has ended:\n{self.bridge.log()}")
        if self.listed() != self.studies:
            raise Succeeded("a search of the site's own users is answered otherwise than before")
        if self.objects("main", self.study) != self.whole[self.study]:
            raise Succeeded("a study of the site's own users has other bytes than before")
        association = self.associate()
        if association.echo() != 0:
            raise Succeeded("C-ECHO fails")
        matches, final = association.find({0x00080052: "STUDY", 0x0020000D: "\\".join(self.studies)})
        if final["status"] != 0 or len(matches) != len(self.studies):
            raise Succeeded("C-FIND of the site's own users is answered otherwise than before")
        association.release()

    # What the process holds.

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.bridge.process.pid}/fd"))

    def memory(self, which="VmRSS"):
        status = Path(f"/proc/{self.bridge.process.pid}/status").read_text()
        return int(re.search(rf"{which}:\s+(\d+)", status)[1]) << 10

    def established(self, *ports):
        """How many connections to these ports of clients' the bridge holds open."""
        own = {f"{port:04X}" for port in (self.http, self.dimse, self.dimse_tls)}
        theirs = {f"{port:04X}" for port in ports}
        lines = map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        return sum(state == "01" and local[-4:] in own and remote[-4:] in theirs for _, local, remote, state, *_ in lines)

    def forget_peak(self):
        Path(f"/proc/{self.bridge.process.pid}/clear_refs").write_text("5")

    def recovered(self):
        """Waits until descriptors and memory are back; what is not, is an attack that went through."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            descriptors, memory = self.descriptors() - self.baseline[0], self.memory() - self.baseline[1]
            if descriptors <= DESCRIPTORS_SLACK and memory <= MEMORY_SLACK:
                return descriptors, memory
            if time.monotonic() > deadline:
                raise Succeeded(f"{descriptors} descriptors and {memory >> 20} MiB do not come back")
            time.sleep(0.1)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def audit(self):
        """The records of the audit trail; a line that is none raises."""
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]

    def audit_has(self, text):
        return text in (self.folder / "audit.jsonl").read_text()

    def until(self, what, holds, seconds=15):
        deadline = time.monotonic() + seconds
        while not holds():
            stopped(time.monotonic() < deadline, f"not within {seconds} s: {what}")
            time.sleep(0.05)

    def stop(self):
        self.bridge.end()
        for server in self.servers:
            server.stop()


def digests(files):
    """Of the data sets of PS3.10 files: their heads say from whom they came."""
    return sorted(hashlib.sha256(file[144 + struct.unpack_from("<I", file, 140)[0]:]).hexdigest() for file in files)


def stopped(condition, what):
    """What an attack expects of a defence."""
    if not condition:
        raise Succeeded(what)
