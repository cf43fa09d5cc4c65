"""The transport of HTTP: a study out of the cache over HTTP and HTTPS, HTTP/1.1 and 2, beside nginx with the same bytes."""

import shutil
import subprocess

from client import OBJECTS, Failed, Http
from fleet import scratch
from lab import alternate, compared, per_round, row

SCHEMES = (("HTTP/1.1", "http", "--http1.1"), ("HTTPS/1.1", "https", "--http1.1"), ("HTTPS/2", "https", "--http2"))


def certificate(folder):
    """A certificate for 127.0.0.1 that nobody trusts: curl is told not to ask. nginx and the bridge show the same."""
    made = folder / "tls.pem", folder / "tls.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", made[1],
                    "-out", made[0], "-subj", "/CN=bench", "-days", "2", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)
    return made


def curl(address, scheme, version, path, at_least):
    """The same client for all: it decrypts as much, whoever sends."""
    command = ["curl", "-sSfk", version, "-H", f"Accept: {OBJECTS}", "-o", "/dev/null", "-w", "%{size_download} %{http_version}",
               f"{scheme}://{address[0]}:{address[1]}{path}"]
    size, spoken = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    if int(size) < at_least or spoken[0] != version[6]:
        raise Failed(f"{' '.join(command)} brought {size} bytes over HTTP/{spoken}, of at least {at_least}")


@row("tls")
def over_tls(lab):
    archive, rounds, root, keys = lab.archive("pacs"), lab.options.rounds, scratch("www"), scratch("keys")
    try:
        root.chmod(0o755)
        shown = certificate(keys)
        with lab.nginx(root, tls=shown) as nginx:
            for name, scheme, version in SCHEMES:
                tls = shown if scheme == "https" else None
                with lab.bridge(archive, retrieve="get", tls=tls) as bridge:
                    path = f"{bridge.path}/studies/{lab.study}"
                    curl(bridge.address, scheme, version, path, lab.size)
                    if not (root / "study").exists():
                        (root / "study").write_bytes(Http(bridge.address).get(path, OBJECTS, keep=True).body)
                    bridge.begun = bridge.account.cpu()
                    times = alternate(rounds, lambda: curl(nginx.secure if tls else nginx.address, scheme, version, "/study", lab.size),
                                      lambda: curl(bridge.address, scheme, version, path, lab.size))
                    yield compared(f"study out of the cache, {name}", "nginx, same bytes", times, **per_round(bridge, rounds))
    finally:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(keys, ignore_errors=True)
