"""Storing: one STOW-RS request beside DCMTK's storescu over its one association, into the same receiver."""

import os
import shutil
import subprocess

from client import Failed
from fleet import scratch
from lab import alternate, compared, per_round, row

BOUNDARY = "bench-7MA4YWxkTrZu0gW"
# The receiver, what bounds the ratio, and what to say of it.
RECEIVERS = (("storescp", 1.1, "storescp, NODELAY"), ("orthanc", 1.0, "Orthanc"), ("dcmqrscp", None, "dcmqrscp"))


def stow_body(folder, objects, into):
    """One STOW-RS body of all files, written to `into`, as curl reads it from there."""
    with open(into, "wb") as body:
        for entry in objects:
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
        raise Failed(f"STOW-RS: {output.stdout} {output.stderr} {bridge.log()}")


def storescu(archive, files):
    """Without Nagle's delay, over one association, as that is all it does."""
    command = ["/usr/bin/storescu", "-aec", archive.title, archive.address[0], str(archive.port), *files]
    subprocess.run(command, check=True, env={**os.environ, "TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL)


@row("store")
def store(lab):
    files = [lab.ct / entry["file"] for entry in lab.slices]
    work = scratch("stow")
    stow_body(lab.ct, lab.slices, work / "body")
    try:
        for kind, limit, name in RECEIVERS:
            # Archives that hold nothing else: the objects are new to them once, in the round that does not count.
            archive = lab.archive(kind, [])
            rounds = lab.options.rounds if kind == "storescp" else lab.options.slow_rounds
            with lab.bridge(archive) as bridge:
                alternate(1, lambda: storescu(archive, files), lambda: stow(bridge, work / "body"))
                bridge.begun, bridge.spent = bridge.account.cpu(), 0.0
                times = alternate(rounds, lambda: storescu(archive, files), lambda: stow(bridge, work / "body"))
                yield compared(f"STOW-RS of {len(files)} instances, {name}", "storescu, NODELAY", times, limit=limit,
                               **per_round(bridge, rounds))
    finally:
        shutil.rmtree(work, ignore_errors=True)
