"""What compose.yaml starts: every file that it mounts is there, ports are those of this machine alone, and Gantry, Orthanc
and OHIF are configured for each other. `compose.py GANTRY`: the real Orthanc and GANTRY run with these very files."""

import base64
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

REPOSITORY = pathlib.Path(__file__).parents[2]
DEADLINE = 60


def free_port():
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return each.getsockname()[1]


def until(what):
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return what()
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def main(gantry):
    compose = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
    services = compose["services"]
    mounted = {}
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), f"{name}: {service['ports']}"
        for volume in service["volumes"]:
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                mounted[name, target] = REPOSITORY / source
                assert mounted[name, target].is_file(), source
            else:
                assert source in compose["volumes"], source
        if "build" not in service:
            assert re.search(r":v?[0-9]", service["image"]), f"{name} is of no fixed version"
    assert services["gantry"]["read_only"] and services["gantry"]["cap_drop"] == ["ALL"]

    orthanc = json.loads(mounted["orthanc", "/etc/orthanc/orthanc.json"].read_text())
    toml = mounted["gantry", "/etc/gantry/gantry.toml"].read_text()
    viewer = mounted["ohif", "/usr/share/nginx/html/app-config.js"].read_text()
    roots = re.findall(r"(?:qido|wado)Root: 'http://localhost:8080/dicom-web'", viewer)
    assert len(roots) == 2 and 'cors_origins = ["http://localhost:3000"]' in toml

    # The same on this machine: other addresses, nothing else.
    pacs, rest, dimse, http = (free_port() for _ in range(4))
    assert orthanc["DicomModalities"]["gantry"] == ["GANTRY", "gantry", 11112]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        orthanc |= {"StorageDirectory": str(folder / "db"), "DicomPort": pacs, "HttpPort": rest, "Plugins": []}
        orthanc["DicomModalities"]["gantry"][1:] = ["127.0.0.1", dimse]
        (folder / "orthanc.json").write_text(json.dumps(orthanc))
        for there, here in {
            "0.0.0.0:8080": f"127.0.0.1:{http}",
            "0.0.0.0:11112": f"127.0.0.1:{dimse}",
            "orthanc:4242": f"127.0.0.1:{pacs}",
            "/var/lib/gantry": str(folder),
        }.items():
            assert toml.count(there) == 1, there
            toml = toml.replace(there, here)
        (folder / "gantry.toml").write_text(toml)
        loopback = {"LD_PRELOAD": REPOSITORY / ".peers/loopback.so"}
        started = []
        try:
            with open(folder / "log", "wb") as log:
                for command, environment in (
                    ([shutil.which("Orthanc") or "/usr/sbin/Orthanc", folder / "orthanc.json"], loopback),
                    ([gantry, "serve", "--config", folder / "gantry.toml"], {}),
                ):
                    started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            user = base64.b64encode(b"orthanc:orthanc").decode()
            ask = urllib.request.Request(f"http://127.0.0.1:{rest}/system", headers={"Authorization": f"Basic {user}"})
            until(lambda: urllib.request.urlopen(ask, timeout=10).read())
            page = {"Origin": "http://localhost:3000", "Accept": "application/dicom+json"}
            ask = urllib.request.Request(f"http://127.0.0.1:{http}/dicom-web/studies", headers=page)
            with until(lambda: urllib.request.urlopen(ask, timeout=10)) as answer:
                assert answer.status in (200, 204), answer.status
                assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        except Exception:
            print((folder / "log").read_text(errors="replace"), file=sys.stderr)
            raise
        finally:
            for each in started:
                each.kill()
                each.wait()


if __name__ == "__main__":
    main(sys.argv[1])
