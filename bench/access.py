#!/usr/bin/env python3
"""How fast cached frames are for who shows a token, beside who needs none: two bridges before one archive, by turns.

    cargo build --release && bench/access.py
"""

import base64
import http.server
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from fleet import LOOPBACK, ROOT, free_port

CLIENTS, REQUESTS, ROUNDS, WARM_UP = 2, 2000, 9, 200
LIMIT = 0.9


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Publishes one RSA key, and signs tokens with it."""

    def __init__(self, folder):
        self.key = folder / "key.pem"
        subprocess.run(["openssl", "genrsa", "-out", self.key, "2048"], check=True, capture_output=True)
        modulus = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"], check=True, capture_output=True)
        n = bytes.fromhex(modulus.stdout.decode().strip().removeprefix("Modulus="))
        keys = {"keys": [{"kty": "RSA", "kid": "1", "n": text(n), "e": "AQAB"}]}
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                discovery = {"issuer": issuer.url, "jwks_uri": issuer.url + "/keys"}
                body = json.dumps(keys if self.path == "/keys" else discovery).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self):
        header = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        groups = [f"group-{n}" for n in range(30)]  # about as long as those of real issuers
        claims = {"iss": self.url, "aud": "gantry", "sub": "bench", "exp": int(time.time()) + 3600,
                  "scope": "dicomweb:search dicomweb:retrieve", "groups": groups}
        signed = ".".join(text(json.dumps(part).encode()) for part in (header, claims))
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=signed.encode(), check=True, capture_output=True)
        return f"{signed}.{text(signature.stdout)}"


def ask(address, path, token, count):
    """Asks `count` times over one connection; seconds for each request."""
    header = f"Authorization: Bearer {token}\r\n" if token else ""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n{header}\r\n".encode()
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer, begin = b"", time.perf_counter()
        for _ in range(count):
            connection.sendall(request)
            while b"\r\n\r\n" not in buffer:
                buffer += connection.recv(1 << 16)
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(head.decode())
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            length = int(fields[b"content-length"])
            while len(buffer) < length:
                buffer += connection.recv(1 << 16)
            buffer = buffer[length:]
        return (time.perf_counter() - begin) / count


def rate(address, path, token, pool):
    """Requests a second of all clients together."""
    begin = time.perf_counter()
    pool.starmap(ask, [(address, path, token, REQUESTS)] * CLIENTS)
    return CLIENTS * REQUESTS / (time.perf_counter() - begin)


def wait_for(port):
    while True:
        try:
            return socket.create_connection((LOOPBACK, port)).close()
        except OSError:
            time.sleep(0.05)


def json_of(port, path):
    import urllib.request
    request = urllib.request.Request(f"http://{LOOPBACK}:{port}{path}", headers={"Accept": "application/dicom+json"})
    return json.load(urllib.request.urlopen(request))


def main():
    gantry = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target/release/gantry"
    folder = Path(tempfile.mkdtemp(prefix="gantry-access-"))
    issuer, processes = Issuer(folder), []
    pacs = free_port()
    processes.append(subprocess.Popen([gantry, "pacs", "--listen", f"{LOOPBACK}:{pacs}", "--studies", "2", "--plain", "8192"],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    wait_for(pacs)
    ports = {}
    auth = f'[auth.oidc]\nissuer = "{issuer.url}"\naudience = "gantry"\n'
    for name, section in (("open", ""), ("token", auth)):
        ports[name], dimse = free_port(), free_port()
        file = folder / f"{name}.toml"
        file.write_text(f'[http]\nlisten = "{LOOPBACK}:{ports[name]}"\n[dimse]\nlisten = "{LOOPBACK}:{dimse}"\n[log]\nfilter = "warn"\n'
                        f'[archive.main]\nae_title = "PACS"\naddress = "{LOOPBACK}:{pacs}"\n[cache]\nttl = "1h"\n{section}')
        processes.append(subprocess.Popen([gantry, "serve", "--config", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(ports[name])
    try:
        one = json_of(ports["open"], "/dicom-web/instances?limit=1")[0]
        study, series, instance = (one[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
        path = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/1"
        token = issuer.token()
        sides = {"open": ((LOOPBACK, ports["open"]), None), "token": ((LOOPBACK, ports["token"]), token)}
        rates = {name: [] for name in sides}
        with multiprocessing.Pool(CLIENTS) as pool:
            for address, credentials in sides.values():
                ask(address, path, credentials, WARM_UP)
            for _ in range(ROUNDS):
                for name, (address, credentials) in sides.items():
                    rates[name].append(rate(address, path, credentials, pool))
    finally:
        for process in processes:
            process.terminate()
            process.wait()
    median = {name: statistics.median(values) for name, values in rates.items()}
    ratio = median["token"] / median["open"]
    print(f"{len(token)} bytes of token; frames a second, median of {ROUNDS} rounds: without {median['open']:.0f}, with {median['token']:.0f}; "
          f"{ratio:.3f} of the rate without (at least {LIMIT})")
    return 0 if ratio >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
