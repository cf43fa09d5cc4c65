"""The servers that a benchmark runs: archives as Debian ships them, and the bridge. All on loopback."""

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

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def data(kind, *options):
    """The folder that make_data.py makes, made once."""
    folder = ROOT / ".peers/data" / "".join([kind, *options])
    script = ROOT / "tests/peers/make_data.py"
    manifest = folder / "manifest.json"
    if not manifest.exists() or manifest.stat().st_mtime < script.stat().st_mtime:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, script, kind, folder, *options], check=True)
    return folder


class Server:
    """A server, in a folder and a process group of its own."""

    def __init__(self, name, folder, command, ports, environment=None):
        self.name, self.folder = name, folder
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, env={**os.environ, **(environment or {})})
        deadline = time.monotonic() + START_SECONDS
        for port in ports:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        self.stop()
                        raise SystemExit(f"{name} does not answer:\n{(folder / 'log').read_text()[-4000:]}") from None
                    time.sleep(0.02)

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def scratch(name):
    return Path(tempfile.mkdtemp(prefix=f"gantry-bench-{name}-"))


def on_loopback():
    return {"LD_PRELOAD": str(ROOT / ".peers/loopback.so"), "MALLOC_ARENA_MAX": "5"}


class Archive(Server):
    """An archive that holds `folders` and moves to `destinations`, {title: port}."""

    def __init__(self, kind, folders, destinations, gantry=None):
        self.port, self.title, folder = free_port(), kind.upper(), scratch(kind)
        if kind == "pacs":
            self.pacs(folder, gantry)
        else:
            {"orthanc": self.orthanc, "dcmqrscp": self.dcmqrscp}[kind](folder, folders, destinations)
        self.address = ("127.0.0.1", self.port, self.title)

    def orthanc(self, folder, folders, destinations):
        rest = free_port()
        (folder / "orthanc.json").write_text(json.dumps({
            "Name": self.title, "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
            "Plugins": [], "DicomAet": self.title, "DicomPort": self.port, "HttpPort": rest,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True, "DicomAlwaysAllowStore": True,
            "DefaultEncoding": "Utf8", "SaveJobs": False,
            "DicomModalities": {title: [title, "127.0.0.1", port] for title, port in destinations.items()},
        }))
        super().__init__("orthanc", folder, ["/usr/sbin/Orthanc", folder / "orthanc.json"], [self.port, rest],
                         on_loopback())
        for source in folders:
            for entry in json.loads((source / "manifest.json").read_text()):
                connection = http.client.HTTPConnection("127.0.0.1", rest, timeout=600)
                with open(source / entry["file"], "rb") as file:
                    connection.request("POST", "/instances", body=file)
                answer = connection.getresponse()
                if answer.status != 200:
                    raise SystemExit(f"Orthanc does not take {entry['file']}: {answer.status} {answer.read()[:300]}")

    def pacs(self, folder, gantry):
        """The built-in archive, which throws away what is stored."""
        command = [gantry, "pacs", "--ae-title", self.title, "--listen", f"127.0.0.1:{self.port}", "--studies", "0",
                   "--fault", "store-discard"]
        super().__init__("pacs", folder, command, [self.port])

    def dcmqrscp(self, folder, folders, destinations):
        (folder / "db").mkdir()
        hosts = "".join(f"h{n} = ({title}, localhost, {port})\n" for n, (title, port) in enumerate(destinations.items()))
        known = ", ".join(f"h{n}" for n in range(len(destinations)))
        (folder / "cfg").write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 16384\nMaxAssociations = 64\nHostTable BEGIN\n{hosts}"
            f"known = {known}\nHostTable END\nVendorTable BEGIN\nVendorTable END\nAETable BEGIN\n"
            f"{self.title} {folder}/db RW (500, 1024mb) ANY\nAETable END\n")
        files = [source / entry["file"] for source in folders
                 for entry in json.loads((source / "manifest.json").read_text())]
        if files:
            subprocess.run(["/usr/bin/dcmqridx", folder / "db", *files], check=True, stdout=subprocess.DEVNULL)
        super().__init__("dcmqrscp", folder, ["/usr/bin/dcmqrscp", "-c", folder / "cfg", str(self.port)], [self.port],
                         on_loopback())


class Bridge(Server):
    """`gantry serve` before `archive`. `own` is the (title, port) that the archive moves to."""

    def __init__(self, gantry, archive, own, retrieve):
        self.port, folder = free_port(), scratch("gantry")
        (folder / "gantry.toml").write_text(
            f'[http]\nlisten = "127.0.0.1:{self.port}"\n'
            f'[dimse]\nlisten = "127.0.0.1:{own[1]}"\nae_title = "{own[0]}"\nmove_ae_titles = ["{own[0]}"]\n'
            f'[archive.main]\nprotocol = "dimse"\nae_title = "{archive.title}"\naddress = "127.0.0.1:{archive.port}"\n'
            f'retrieve = "{retrieve}"\n')
        super().__init__("gantry", folder, [gantry, "serve", "--config", folder / "gantry.toml"], [self.port],
                         {"RUST_LOG": "warn"})
        self.path = "/dicom-web"
        self.url = f"http://127.0.0.1:{self.port}{self.path}"

    def status(self, key):
        """A line of /proc/PID/status, in bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(key)

    def forget_peak(self):
        """The peak of resident memory counts from now on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
