#!/usr/bin/env python3
"""The benchmark that bench/run starts: search, retrieval, storing and memory of the bridge beside their references."""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from fleet import ROOT, Archive, Bridge, data, free_port, scratch

sys.path.insert(0, str(ROOT / "tests/peers"))
import rawdimse  # noqa: E402 - stands beside the tests, which need it too
from rawdimse import EXPLICIT_LE, IMPLICIT_LE, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE  # noqa: E402

ACCEPT = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'
# What a study-level QIDO-RS asks for (PS3.18 Table 10.6.3-3), as return keys.
STUDY_KEYS = [0x00080005, 0x00080020, 0x00080030, 0x00080050, 0x00080056, 0x00080061, 0x00080090, 0x00080201,
              0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00200010, 0x00201206, 0x00201208]
MIB = 1 << 20
FINDS = 300
# A study in dcmqrscp's index has at most a gibibyte.
DCMQRSCP_STUDY = 1_000_000_000
# What a slow reader takes: less than any archive here gives.
SLOW_READER = "150M"


class Http:
    """One HTTP/1.1 connection that is kept, and no library's time in what is measured."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path):
        self.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: application/dicom+json\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.more()
        head, body = answer.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ", 2)[1])
        lines = [line.lower() for line in head.split(b"\r\n")]
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), None)
        while (len(body) < length) if length is not None else not body.endswith(b"0\r\n\r\n"):
            body += self.more()
        return status, body

    def more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise SystemExit("the bridge closed the connection")
        return data


def timed(work, rounds):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def search(archive, bridge, study):
    """Seconds of one C-FIND on an open association, and of the same as QIDO-RS on an open connection; medians."""
    association = rawdimse.Association(*archive.address, [(STUDY_ROOT_FIND, [IMPLICIT_LE])])
    keys = {0x00080052: "STUDY", 0x0020000D: study, **dict.fromkeys(STUDY_KEYS, "")}

    def find():
        matches, final = association.find(keys)
        assert len(matches) == 1 and final["status"] == 0, final

    http = Http(bridge.port)

    def qido():
        status, body = http.get(f"{bridge.path}/studies?StudyInstanceUID={study}")
        assert status == 200 and study.encode() in body, (status, body[:300])

    find()
    qido()
    # In turns, so that both meet the same machine.
    direct, bridged = [], []
    for _ in range(FINDS):
        direct += timed(find, 1)
        bridged += timed(qido, 1)
    association.release()
    return statistics.median(direct), statistics.median(bridged)


def dimse_get(archive, manifest):
    """Retrieves the study with C-GET on a new association, counting bytes only."""
    sop_class, study = manifest[0]["sop_class"], manifest[0]["study"]
    contexts = [(STUDY_ROOT_GET, [IMPLICIT_LE]), (sop_class, [EXPLICIT_LE])]
    association = rawdimse.Association(*archive.address, contexts, roles=[sop_class])
    sizes = []
    final = association.get({0x00080052: "STUDY", 0x0020000D: study}, lambda _r, _t, size: sizes.append(size), keep=False)
    association.release()
    assert len(sizes) == len(manifest) and final["status"] == 0, (len(sizes), final)


def dimse_move(archive, manifest, own, sizes):
    sizes.clear()
    association = rawdimse.Association(*archive.address, [(STUDY_ROOT_MOVE, [IMPLICIT_LE])])
    final = association.move({0x00080052: "STUDY", 0x0020000D: manifest[0]["study"]}, own)
    association.release()
    assert len(sizes) == len(manifest) and final["status"] == 0, (len(sizes), final)


def wado(bridge, study, *options):
    command = ["/usr/bin/curl", "-sS", "--fail", "-o", "/dev/null", "-H", ACCEPT, *options,
               "-w", "%{http_code} %{size_download}", f"{bridge.url}/studies/{study}"]
    output = subprocess.run(command, capture_output=True, text=True)
    if output.returncode:
        raise SystemExit(f"curl: {output.stderr} {(bridge.folder / 'log').read_text()[-3000:]}")
    status, size = output.stdout.split()
    assert status == "200", output.stdout
    return int(size)


BOUNDARY = "bench-7MA4YWxkTrZu0gW"


def stow_body(folder, manifest, into):
    """One STOW-RS body of all files, written to `into`, as curl reads it from there."""
    with open(into, "wb") as body:
        for entry in manifest:
            body.write(f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode())
            body.write((folder / entry["file"]).read_bytes())
            body.write(b"\r\n")
        body.write(f"--{BOUNDARY}--\r\n".encode())


def stow(bridge, body):
    command = ["/usr/bin/curl", "-sS", "-X", "POST", "-T", body, "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:",
               "-H", f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}',
               "-H", "Accept: application/dicom+json", f"{bridge.url}/studies"]
    output = subprocess.run(command, capture_output=True, text=True)
    # 202: stored with warnings, as an archive gives them to an object that it has already.
    if output.returncode or output.stdout not in ("200", "202"):
        raise SystemExit(f"STOW-RS: {output.stdout} {output.stderr} {(bridge.folder / 'log').read_text()[-3000:]}")


def storescu(archive, folder, manifest):
    """DCMTK's storescu without Nagle's delay, over one association, as that is all it does."""
    files = [folder / entry["file"] for entry in manifest]
    command = ["/usr/bin/storescu", "-aec", archive.title, "127.0.0.1", str(archive.port), *files]
    subprocess.run(command, check=True, env={**os.environ, "TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL)


def store(kind, options):
    """storescu and STOW-RS of the same study into the same archive, in turns."""
    folder = data("ct", "--slices", str(options.slices))
    manifest = json.loads((folder / "manifest.json").read_text())
    work = scratch("stow")
    stow_body(folder, manifest, work / "body")
    own = ("GANTRY", free_port())
    print(f"{kind}: storing {options.slices} CT slices", flush=True)
    servers = [Archive(kind, [], dict([own]), options.gantry)]
    try:
        servers.append(Bridge(options.gantry, servers[0], own, "auto"))
        archive, bridge = servers
        # Both once before it counts: the archive has every object then, whoever comes first.
        storescu(archive, folder, manifest)
        stow(bridge, work / "body")
        idle = bridge.status("VmRSS")
        bridge.forget_peak()
        direct, bridged = [], []
        for _ in range(options.rounds):
            direct += timed(lambda: storescu(archive, folder, manifest), 1)
            bridged += timed(lambda: stow(bridge, work / "body"), 1)
        ratio("storescu, STOW-RS of the same, best", min(direct), min(bridged))
        ratio("storescu, STOW-RS of the same, median", statistics.median(direct), statistics.median(bridged))
        print(f"  memory above idle: {(bridge.status('VmHWM') - idle) / MIB:.1f} MiB", flush=True)
    finally:
        for server in reversed(servers):
            server.stop()
        shutil.rmtree(work, ignore_errors=True)


def memory(bridge, study, *options):
    """Bytes of resident memory above idle at the peak of one retrieval."""
    idle = bridge.status("VmRSS")
    bridge.forget_peak()
    wado(bridge, study, *options)
    return bridge.status("VmHWM") - idle


def ratio(label, reference, measured):
    print(f"  {label:<44} {reference:8.3f} s  {measured:8.3f} s  {measured / reference:5.2f} x", flush=True)


def bench(kind, options):
    size = min(options.big, DCMQRSCP_STUDY) if kind == "dcmqrscp" else options.big
    ct, big = data("ct", "--slices", str(options.slices)), data("big", "--bytes", str(size))
    slices, large = (json.loads((folder / "manifest.json").read_text()) for folder in (ct, big))
    study = slices[0]["study"]
    own, reference = ("GANTRY", free_port()), ("REFERENCE", free_port())
    print(f"{kind}: {options.slices} CT slices, {sum(f.stat().st_size for f in ct.glob('*.dcm')) / 1e6:.0f} MB", flush=True)
    servers = [Archive(kind, [ct, big], dict([own, reference]))]
    try:
        archive = servers[0]
        for retrieve in ("get", "move"):
            bridge = Bridge(options.gantry, archive, own, retrieve)
            servers.append(bridge)
            if retrieve == "get":
                idle = bridge.status("VmRSS")
                print(f"  idle: {idle / MIB:.1f} MiB resident")
                direct, bridged = search(archive, bridge, study)
                print(f"  {'C-FIND of one study, QIDO-RS of the same':<44} {direct * 1e3:8.3f} ms {bridged * 1e3:8.3f} ms "
                      f"{(bridged - direct) * 1e3:+5.2f} ms", flush=True)
                baseline = timed(lambda: dimse_get(archive, slices), options.rounds)
            else:
                sizes = []
                scp = rawdimse.StorageSCP(reference[1], lambda _r, _t, size: sizes.append(size), keep=False)
                baseline = timed(lambda: dimse_move(archive, slices, reference[0], sizes), options.rounds)
                scp.close()
            measured = timed(lambda: wado(bridge, study), options.rounds)
            ratio(f"study by C-{retrieve.upper()}, WADO-RS of the same, best", min(baseline), min(measured))
            ratio(f"study by C-{retrieve.upper()}, WADO-RS of the same, median",
                  statistics.median(baseline), statistics.median(measured))
            for label, target in ((f"{options.slices} slices", study), (f"{size / 1e9:.1f} GB object", large[0]["study"])):
                peak = memory(bridge, target)
                slow = memory(bridge, target, "--limit-rate", SLOW_READER)
                print(f"  {'memory above idle, ' + label + ' by C-' + retrieve.upper():<44} "
                      f"{peak / MIB:7.1f} MiB; reader at {SLOW_READER}B/s {slow / MIB:.1f} MiB", flush=True)
            servers.pop().stop()
    finally:
        for server in reversed(servers):
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gantry", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--big", type=int, default=2_000_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--archive", action="append", choices=["orthanc", "dcmqrscp"])
    parser.add_argument("--only", choices=["read", "store"])
    options = parser.parse_args()
    kinds = options.archive or ["orthanc", "dcmqrscp"]
    if options.only != "store":
        for kind in kinds:
            bench(kind, options)
    if options.only != "read":
        # The built-in archive throws objects away: what is measured is the way to it.
        for kind in ["pacs", *kinds]:
            store(kind, options)


if __name__ == "__main__":
    main()
