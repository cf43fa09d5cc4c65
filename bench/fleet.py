"""The servers that a benchmark runs: archives as Debian ships them, nginx, and the bridge. All on loopback."""

import atexit
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from account import Group

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
LOOPBACK = "127.0.0.1"
DICOMWEB_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


class Broken(Exception):
    """A server does not do what it is needed for."""


# What is left when the benchmark is ended in the middle of a start.
processes, folders_made = set(), set()


@atexit.register
def sweep():
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    for group in list(Group.open):
        group.close()
    for folder in folders_made:
        shutil.rmtree(folder, ignore_errors=True)


def free_port():
    with socket.create_server((LOOPBACK, 0)) as listener:
        return listener.getsockname()[1]


def data(kind, *options, script=ROOT / "tests/peers/make_data.py"):
    """The folder that the script makes, made once."""
    folder = ROOT / ".peers/data" / "".join([kind, *options])
    manifest = folder / "manifest.json"
    if not manifest.exists() or manifest.stat().st_mtime < script.stat().st_mtime:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, script, kind, folder, *options], check=True, stdout=sys.stderr)
    return folder


def objects(folder):
    """What a folder of data holds: one entry an object."""
    return json.loads((folder / "manifest.json").read_text())


class Server:
    """A server, in a folder and a process group of its own. `inside` is the command that comes before its own."""

    inside = ()

    def __init__(self, name, folder, command, ports, environment=None, host=LOOPBACK):
        self.name, self.folder = name, folder
        with open(folder / "log", "ab") as log:
            self.process = subprocess.Popen([*self.inside, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, env={**os.environ, **(environment or {})})
        processes.add(self.process)
        deadline = time.monotonic() + START_SECONDS
        for port in ports:
            while not self.answers(host, port):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = self.log()
                    self.stop()
                    raise Broken(f"{name} does not answer:\n{log}")
                time.sleep(0.01)

    def answers(self, host, port):
        try:
            socket.create_connection((host, port), timeout=1).close()
            return True
        except OSError:
            return False

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        processes.discard(self.process)

    def stop(self):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def scratch(name):
    folder = Path(tempfile.mkdtemp(prefix=f"gantry-bench-{name}-"))
    folders_made.add(folder)
    return folder


def on_loopback():
    return {"LD_PRELOAD": str(ROOT / ".peers/loopback.so")}


class Archive(Server):
    """An archive that holds `folders` and moves to `destinations`, {title: port}. With `host` it listens on every address, in
    a network namespace where that is its own."""

    def __init__(self, kind, folders, destinations, gantry=None, plugin=False, host=None):
        self.kind, self.port, self.title, self.rest = kind, free_port(), kind.upper(), None
        self.listening = {} if host else on_loopback()
        getattr(self, kind)(scratch(kind), folders, destinations, gantry, plugin)
        self.address = (host or LOOPBACK, self.port, self.title)

    def orthanc(self, folder, folders, destinations, _gantry, plugin):
        self.rest = free_port()
        (folder / "orthanc.json").write_text(json.dumps({
            "Name": self.title, "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
            "Plugins": [DICOMWEB_PLUGIN] if plugin else [], "DicomAet": self.title, "DicomPort": self.port,
            "HttpPort": self.rest, "AuthenticationEnabled": False, "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True, "DicomAlwaysAllowStore": True,
            "DefaultEncoding": "Utf8", "SaveJobs": False,
            "DicomModalities": {title: [title, LOOPBACK, port] for title, port in destinations.items()},
        }))
        super().__init__("Orthanc", folder, ["/usr/sbin/Orthanc", folder / "orthanc.json"], [self.port, self.rest],
                         {**self.listening, "MALLOC_ARENA_MAX": "5"})
        for source in folders:
            for entry in objects(source):
                connection = http.client.HTTPConnection(LOOPBACK, self.rest, timeout=600)
                with open(source / entry["file"], "rb") as file:
                    connection.request("POST", "/instances", body=file)
                answer = connection.getresponse()
                if answer.status != 200:
                    raise Broken(f"Orthanc does not take {entry['file']}: {answer.status} {answer.read()[:300]}")

    def pacs(self, folder, folders, destinations, gantry, _plugin):
        """The built-in archive. Without data it throws away what is stored."""
        (folder / "data").mkdir()
        for number, source in enumerate(folders):
            (folder / "data" / str(number)).symlink_to(source)
        holds = ["--data", folder / "data"] if folders else ["--studies", "0", "--fault", "store-discard"]
        known = [word for title, port in destinations.items() for word in ("--destination", f"{title}={LOOPBACK}:{port}")]
        command = [gantry, "pacs", "--ae-title", self.title, "--listen", f"{LOOPBACK}:{self.port}", *holds, *known]
        super().__init__("gantry pacs", folder, command, [self.port])

    def dcmqrscp(self, folder, folders, destinations, _gantry, _plugin):
        (folder / "db").mkdir()
        hosts = "".join(f"h{n} = ({title}, localhost, {port})\n" for n, (title, port) in enumerate(destinations.items()))
        known = ", ".join(f"h{n}" for n in range(len(destinations)))
        (folder / "cfg").write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 16384\nMaxAssociations = 64\nHostTable BEGIN\n{hosts}"
            f"known = {known}\nHostTable END\nVendorTable BEGIN\nVendorTable END\nAETable BEGIN\n"
            f"{self.title} {folder}/db RW (500, 1024mb) ANY\nAETable END\n")
        files = [source / entry["file"] for source in folders for entry in objects(source)]
        if files:
            subprocess.run(["/usr/bin/dcmqridx", folder / "db", *files], check=True, stdout=subprocess.DEVNULL)
        super().__init__("dcmqrscp", folder, ["/usr/bin/dcmqrscp", "-c", folder / "cfg", str(self.port)], [self.port],
                         self.listening)

    def storescp(self, folder, _folders, _destinations, _gantry, _plugin):
        """DCMTK's receiver, which throws away what it gets; a process an association, and without Nagle's delay."""
        command = ["/usr/bin/storescp", "--ignore", "--fork", "-aet", self.title, str(self.port)]
        super().__init__("storescp", folder, command, [self.port], {**self.listening, "TCP_NODELAY": "1"})


class Nginx(Server):
    """nginx, serving the files below `root`; with `tls`, (certificate, key), over HTTPS too, at `secure`."""

    def __init__(self, root, tls=None):
        self.port, folder, secure, ports = free_port(), scratch("nginx"), "", []
        if tls:
            ports = [free_port()]
            self.secure = (LOOPBACK, ports[0])
            secure = (f"server {{ listen {LOOPBACK}:{ports[0]} ssl http2; ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]}; "
                      f"ssl_protocols TLSv1.2 TLSv1.3; root {root}; }}\n")
        paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "conf").write_text(
            f"daemon off; worker_processes auto; pid {folder}/pid; error_log {folder}/error;\n"
            "events { worker_connections 512; }\n"
            f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; {paths}\n"
            f"server {{ listen {LOOPBACK}:{self.port}; root {root}; }}\n{secure}}}\n")
        # Where root starts it, the workers are another user's.
        (folder).chmod(0o755)
        super().__init__("nginx", folder, ["/usr/sbin/nginx", "-c", folder / "conf", "-e", folder / "error",
                                           *(["-g", "user root;"] if os.geteuid() == 0 else [])], [self.port, *ports])
        self.address = (LOOPBACK, self.port)


class Bridge(Server):
    """`gantry serve` before `archive`, in an account of its own. `own` is the (title, port) that the archive moves to;
    `cache` is what stands in the configuration's section of that name, `extra` what stands in the archive's. With `tls`,
    (certificate, key), it speaks HTTPS."""

    def __init__(self, gantry, archive, own, retrieve="auto", cache="", extra="", tls=None):
        self.port, self.gantry, folder = free_port(), gantry, scratch("gantry")
        (folder / "gantry.toml").write_text(
            f'[http]\nlisten = "{LOOPBACK}:{self.port}"\n'
            f'[dimse]\nlisten = "{LOOPBACK}:{own[1]}"\nae_title = "{own[0]}"\nmove_ae_titles = ["{own[0]}"]\naccept = "any"\n'
            f'[archive.main]\nprotocol = "dimse"\nae_title = "{archive.title}"\naddress = "{archive.address[0]}:{archive.port}"\n'
            f'retrieve = "{retrieve}"\n{extra}\n[cache]\n{cache}\n'
            + (f'[http.tls]\ncertificate = "{tls[0]}"\nkey = "{tls[1]}"\n' if tls else ""))
        self.path, self.address, self.folder = "/dicom-web", (LOOPBACK, self.port), folder
        self.dimse = (LOOPBACK, own[1], own[0])
        self.url = f"http://{LOOPBACK}:{self.port}{self.path}"
        # What earlier processes of this bridge took; a restart begins a new account.
        self.spent, self.peak = 0.0, 0
        self.start()

    def start(self):
        self.account = Group()
        self.inside = self.account.command()
        super().__init__("gantry", self.folder, [self.gantry, "serve", "--config", self.folder / "gantry.toml"], [self.port])
        self.account.of(self.process.pid)
        self.idle = self.account.memory()
        self.begun = self.account.cpu()

    def close_account(self):
        self.spent += self.account.cpu() - self.begun
        self.peak = max(self.peak, self.account.peak() - self.idle)

    def cold(self):
        """Another process with the same configuration: nothing cached, nothing learnt, no association open."""
        self.end()
        self.start()

    def purge(self):
        """Empties the cache. The process goes on: what it has learnt, its memory and its associations are as they were."""
        connection = http.client.HTTPConnection(*self.address, timeout=START_SECONDS)
        connection.request("DELETE", "/admin/cache")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status >= 300:
            raise Broken(f"the cache is not purged: {answer.status}")

    def end(self):
        self.close_account()
        super().end()
        self.account.close()
