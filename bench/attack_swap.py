#!/usr/bin/env python3
"""Swaps the certificate on disk while a retrieval of 2 GB over HTTPS runs: it ends whole, and the next handshake shows the new one.

    cargo build --release --locked && .peers/venv/bin/python bench/attack_swap.py

What comes is held against what the archive itself sends: the number of objects, and a digest of each.
"""

import argparse
import hashlib
import re
import shutil
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path

from attack_peers import CT, rawdimse
from attack_site import Pki, Site
from attack_wire import LOOPBACK, OBJECTS, context, plain
from fleet import ROOT

PIECE = 1 << 20


def from_the_archive(port, study):
    """The digests of a study's data sets, as they come by C-GET from the archive itself."""
    association = rawdimse.Association(LOOPBACK,
                                       port,
                                       "PACS", [(rawdimse.STUDY_ROOT_GET, [rawdimse.IMPLICIT_LE]), (CT, [rawdimse.EXPLICIT_LE])],
                                       roles=[CT])
    digests = []

    def take(_request, _syntax, fragments):
        digest = hashlib.sha256()
        for fragment in fragments:
            digest.update(fragment)
        digests.append(digest.hexdigest())

    association.get({0x00080052: "STUDY", 0x0020000D: study}, take)
    association.release()
    return sorted(digests)


class Parts:
    """Takes a multipart body apart while it comes; digests of the data sets."""

    def __init__(self):
        self.buffer, self.mark, self.digests, self.size, self.closed = bytearray(), None, [], 0, False

    def feed(self, piece):
        self.size += len(piece)
        self.buffer += piece
        if self.mark is None:
            line = re.match(rb"(?:\r\n)?(--[^\r\n]+)\r\n", self.buffer)
            if not line:
                return
            self.mark = b"\r\n" + line[1]
            del self.buffer[:line.end(1)]
        while (end := self.buffer.find(self.mark)) >= 0:
            self.part(bytes(self.buffer[:end]))
            del self.buffer[:end + len(self.mark)]
        self.closed = bytes(self.buffer[:2]) == b"--"

    def part(self, data):
        _, _, file = data.partition(b"\r\n\r\n")
        self.digests.append(hashlib.sha256(memoryview(file)[144 + struct.unpack_from("<I", file, 140)[0]:]).hexdigest())


def shown(site):
    """The certificate of a new connection, in DER."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    with made.wrap_socket(plain(site.http, LOOPBACK)) as sock:
        return sock.getpeercert(binary_form=True)


def swap(site, version):
    """A retrieval by HTTP/`version` with another certificate from a quarter on; what was seen."""
    study = site.studies[0]
    files = [site.pki.pem("server"), site.pki.key("server")]
    new = Pki.__new__(Pki)
    new.folder = site.pki.folder
    new.issue("next", f"/CN=bridge {version}", "DNS:localhost", "IP:127.0.0.1")
    old = shown(site)
    curl = subprocess.Popen([
        "curl", "-sS", f"--http{version}", "--cacert",
        site.pki.pem("ca"), "-H", f"Authorization: Bearer {site.tokens['viewer']}", "-H", f"Accept: {OBJECTS}",
        f"https://localhost:{site.http}/dicom-web/studies/{study}"
    ],
                            stdout=subprocess.PIPE)
    body, swapped, after = Parts(), None, None
    begin = time.monotonic()
    while piece := curl.stdout.read(PIECE):
        body.feed(piece)
        if swapped is None and body.size > site.size // 4:
            for source, target in zip((site.pki.pem("next"), site.pki.key("next")), files):
                shutil.copy(source, target.with_suffix(".swap"))
                target.with_suffix(".swap").rename(target)
            swapped = time.monotonic()
        # Files are looked at every two seconds at most; meanwhile the retrieval goes on, and is held up for nothing but this.
        if swapped and after is None and time.monotonic() > swapped + 2.1:
            after = body.size
            certificate = shown(site)
            if certificate == old:
                raise SystemExit("the next handshake shows the old certificate")
            context(site.pki.pem("ca")).wrap_socket(plain(site.http, LOOPBACK), server_hostname="localhost").close()
        elif swapped and after is None:
            time.sleep(0.01)
    code, took = curl.wait(), time.monotonic() - begin
    if code or not body.closed:
        raise SystemExit(f"HTTP/{version}: it ended with {code}, {'closed' if body.closed else 'broken off'}, after {body.size} bytes")
    if after is None:
        raise SystemExit("it was over before the next handshake")
    if sorted(body.digests) != site.truth:
        raise SystemExit(f"HTTP/{version}: {len(body.digests)} objects, of {len(site.truth)}, or with other bytes")
    return (
        f"HTTP/{version}: {body.size:,} bytes, {len(body.digests)} objects, each with the archive's digest, in {took:.1f} s; "
        f"swapped after {site.size // 4:,} bytes, "
        f"new certificate shown at {after:,} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gantry", type=Path, default=ROOT / "target/release/gantry")
    parser.add_argument("--objects", type=int, default=512)
    parser.add_argument("--bytes", type=int, default=4 << 20, help="of pixel data in each")
    options = parser.parse_args()
    site = Site(options.gantry,
                rude={},
                patience="30s",
                holds=["--studies", "1", "--slices", str(options.objects), "--plain",
                       str(options.bytes)])
    try:
        study = site.studies[0]
        site.truth = from_the_archive(site.archives["main"], study)
        site.size = options.bytes * len(site.truth)
        print(f"{len(site.truth)} objects, {site.size:,} bytes of pixel data", file=sys.stderr)
        for version in ("1.1", "2"):
            print(swap(site, version))
            time.sleep(6)  # the cache lets go of it
    finally:
        site.stop()


if __name__ == "__main__":
    sys.exit(main())
