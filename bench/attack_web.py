"""What a web client can try over HTTP/1.1, with or without a token."""

import base64
import concurrent.futures
import json
import socket
import statistics
import time

from attack_rows import attack
from attack_site import stopped
from attack_wire import ATTACKER, Web, ask, head, multipart, plain, read_reply, say, statuses

WHO = "Web clients"


@attack(WHO, "No credentials, at every resource")
def nobody(site):
    study = f"/dicom-web/studies/{site.study}"
    paths = [
        "/dicom-web/studies", study, f"{study}/metadata", "/dicom-web/studies/1.2.3", "/archives/nowhere/studies", "/metrics",
        "/admin/cache", f"/dicom-web?requestType=WADO&studyUID={site.study}&seriesUID=1&objectUID=1"
    ]
    seen = {(path, method): ask(site, path, method=method).status for path in paths for method in ("GET", "HEAD", "POST", "DELETE")}
    bad = {key: status for key, status in seen.items() if status not in (401, 404, 405)}
    stopped(not bad, f"{bad}")
    stopped(all(seen[path, "GET"] == 401 for path in paths), f"{seen}")
    return f"{len(seen)} requests: 401, whatever exists"


@attack(WHO, "Slow heads, slow bodies, silent connections")
def slow(site):
    token, begun = site.tokens["sender"], time.monotonic()
    kind, body = multipart(b"x" * 1000)
    ways = {
        "silence": b"",
        "half a line": b"GET / HT",
        "a head without end": b"GET / HTTP/1.1\r\nHost: x\r\nA: ",
        "a body that drips": head("/dicom-web/studies", "POST", token, more=f"{kind}Content-Length: {len(body)}\r\n") + body[:50],
        "chunks that drip": head("/dicom-web/studies", "POST", token, more=f"{kind}Transfer-Encoding: chunked\r\n") + b"1\r\n-\r\n",
    }
    socks = {(what, number): Web(site, f"127.0.0.{70 + number}") for what in ways for number in range(20)}
    for (what, _), sock in socks.items():
        sock.sendall(ways[what])
    open_, last = dict(socks), {}
    while open_ and time.monotonic() - begun < 30:
        for key, sock in list(open_.items()):
            sock.settimeout(0.001)
            try:
                if key[0] not in ("silence", "half a line"):
                    sock.sendall(b"0" if key[0] != "chunks that drip" else b"1\r\n0\r\n")
                if not sock.recv(4096):
                    raise ConnectionError
            except TimeoutError:
                continue
            except OSError:
                last[key[0]] = time.monotonic() - begun
                del open_[key]
        site.normal()
        time.sleep(0.3)
    stopped(not open_, f"still open after 30 s: {sorted({what for what, _ in open_})}")
    return f"{len(socks)} connections end within {max(last.values()):.0f} s (time-outs: 4 s)"


@attack(WHO, "Readers that read nothing")
def reads_nothing(site):
    begun, socks = time.monotonic(), []
    for number in range(40):
        sock = Web(site, f"127.0.0.{70 + number % 4}")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"".join(head(f"/dicom-web/studies/{study}", token=site.tokens["viewer"]) for study in site.studies * 4))
        socks.append(sock)
    ports = [sock.getsockname()[1] for sock in socks]
    while (left := site.established(*ports)) and time.monotonic() - begun < 20:
        site.normal()
        time.sleep(0.5)
    for sock in socks:
        sock.close()
    stopped(not left, f"{left} of 40 are still held")
    return f"40 readers are cut off within {time.monotonic() - begun:.0f} s (time-out: 4 s)"


@attack(WHO, "A request within a request (CL and TE), folded lines, bare line feeds")
def smuggling(site):
    inner = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    post = "POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/related; type=\"application/dicom\"; boundary=b\r\n"
    ways = {
        "CL.TE": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "TE.CL": "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "CL.CL": "Content-Length: 5\r\nContent-Length: 50\r\n",
        "a list of lengths": "Content-Length: 5, 50\r\n",
        "+5": "Content-Length: +5\r\n",
        "-5": "Content-Length: -5\r\n",
        "0x5": "Content-Length: 0x5\r\n",
        "huge": "Content-Length: 99999999999999999999\r\n",
        "space before the colon": "Content-Length : 5\r\n",
        "TE.TE": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "chunked, identity": "Transfer-Encoding: chunked, identity\r\n",
        "xchunked": "Transfer-Encoding: xchunked\r\n",
        "obs-fold": "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n",
        "vertical tab": "Transfer-Encoding:\x0bchunked\r\n",
        "a bare line feed": "Content-Length: 5\nTransfer-Encoding: chunked\r\n",
        "a bare carriage return": "Content-Length: 5\rTransfer-Encoding: chunked\r\n",
        "a nul": "Transfer-Encoding: chunked\0\r\nContent-Length: 5\r\n",
    }
    seen = {}
    for what, fields in ways.items():
        answer = say(site, f"{post}{fields}\r\n0\r\n\r\n{inner}{inner}".encode("latin-1"))
        seen[what] = statuses(answer)
        stopped(b"live" not in answer and len(seen[what]) <= 1 and all(400 <= status < 502 for status in seen[what]),
                f"{what}: {answer[:300]}")
    answer = say(
        site,
        f"{post.replace('HTTP/1.1', 'HTTP/1.0')}Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n{inner}".encode())
    stopped(b"live" not in answer and all(400 <= status < 500 for status in statuses(answer)), f"chunks of HTTP/1.0: {answer[:300]}")
    # Chunks that end otherwise than they say; what follows must never be a request.
    for what, chunks in {
            "a chunk's size with a sign": "+0\r\n\r\n", "a bare LF after a size": "0\n\n", "an extension with LF": "0;a\nb\r\n\r\n",
            "a size that overflows": "fffffffffffffffff\r\n", "trailers": "0\r\nContent-Length: 5\r\n\r\n"
    }.items():
        raw = f"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{inner}".encode()
        answer = say(site, raw + inner.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode())
        lives = answer.count(b"live\n")
        # Trailers are allowed, and end where they end.
        stopped(lives <= 2 if what == "trailers" else lives == 0, f"{what}: {answer[-300:]}")
    return f"{len(ways) + 6} ways: one framing is believed, or 400; no inner request is answered"


@attack(WHO, "Two Hosts, or a malformed one; absolute-form URLs")
def hosts(site):
    for what, fields in {
            "two": "Host: a\r\nHost: b\r\n", "a user": "Host: evil@b\r\n", "a path": "Host: a/b\r\n", "a space": "Host: a b\r\n", "none": ""
    }.items():
        answer = say(
            site,
            f"GET /dicom-web/studies HTTP/1.1\r\n{fields}Authorization: Bearer {site.tokens['viewer']}\r\nConnection: close\r\n\r\n".encode(
            ))
        stopped(statuses(answer) == [400], f"{what}: {answer[:200]}")
    seen = {}
    for target in ("http://evil.example/dicom-web/studies", "https://evil.example@localhost/dicom-web/studies",
                   "//evil.example/dicom-web/studies", "*", "evil.example:443", "http://", "file:///etc/passwd"):
        for method in ("GET", "CONNECT", "TRACE"):
            answer = say(
                site, f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAccept: application/dicom+json\r\nConnection: close\r\n"
                f"Authorization: Bearer {site.tokens['viewer']}\r\n\r\n".encode())
            seen[method, target] = statuses(answer)
            # The client chose the host itself, as with Host; what it must not do is reach anybody else's.
            if method != "GET" or not target.startswith("http://evil"):
                stopped(b"evil" not in answer.partition(b"\r\n\r\n")[2] and b"root:" not in answer, f"{method} {target}: {answer[:300]}")
            stopped(all(status < 500 or status == 501 for status in seen[method, target]), f"{method} {target}: {answer[:200]}")
            stopped(not (method != "GET" and 200 in seen[method, target]), f"{method} {target}: {answer[:200]}")
    return "400 for Hosts; no absolute URL, CONNECT or TRACE leads anywhere else"


@attack(WHO, "Line ends in URLs and header fields")
def line_ends(site):
    paths = [
        "/dicom-web/studies?includefield=a%0D%0AX-Evil:%201", "/dicom-web/studies?PatientName=a%0D%0AX-Evil:%201&fuzzymatching=true",
        "/dicom-web/studies?limit=1%0D%0AX-Evil:%201", "/dicom-web/studies/1.2%0D%0AX-Evil:%201", "/archives/main%0D%0AX-Evil:%201/studies",
        "/nowhere%0D%0AX-Evil:%201", "/dicom-web/studies?%0D%0A%0D%0A<script>=1", f"/dicom-web/studies/{site.study}%0AX-Evil:1/metadata"
    ]
    for path in paths:
        reply = site.get(path)
        stopped(reply.whole and reply.status < 500 and "x-evil" not in reply.fields and "<script>" not in reply.head,
                f"{path}: {reply.head}")
    return f"{len(paths)} paths: no field is written"


@attack(WHO, "`Forwarded` and its kin from who is no proxy")
def forwarded(site):
    forged = "Forwarded: host=evil.example;proto=http\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Prefix: /evil\r\n" \
             "X-Forwarded-Proto: http\r\nX-Forwarded-For: 10.9.8.7\r\nX-Real-IP: 10.9.8.7\r\n" \
             "X-Original-URL: /metrics\r\nX-Rewrite-URL: /metrics\r\nX-HTTP-Method-Override: DELETE\r\n"
    for path in ("/dicom-web/studies", f"/dicom-web/studies/{site.study}/metadata"):
        reply = site.get(path, more=forged)
        stopped(reply.status == 200 and "evil" not in reply.text() and "http:" not in reply.text(), f"{path}: {reply.status}")
    site.until("the audit trail is written", lambda: site.audit_has(ATTACKER))
    stopped(not site.audit_has("10.9.8.7"), "the audit trail believes X-Forwarded-For")
    return "no URL and no record of the audit trail has what they say"


@attack(WHO, "Paths that lead elsewhere")
def paths_elsewhere(site):
    study, seen = f"/dicom-web/studies/{site.study}", {}
    for path in ("/dicom-web/studies/..%2F..%2F..%2Fetc%2Fpasswd", "/dicom-web/studies/../../../etc/passwd", "/dicom-web/../metrics",
                 "/dicom-web/%2e%2e/metrics", "/dicom-web/..;/metrics", "//metrics", "/metrics/", "/./metrics", "/%6detrics", "/metrics%00",
                 "/metrics%20", "/METRICS", "/dicom-web//etc/passwd", f"{study}/%2e%2e/%2e%2e/%2e%2e/admin/cache", f"{study}%00",
                 "/dicom-web/studies/%00", "/archives/..%2Fmain/studies", "/archives/%6dain/../main/studies",
                 f"{study}/series/..%2F1/instances/%2E%2E", f"{study}/series/1/instances/1/bulkdata/../../../../../../../etc/passwd",
                 f"{study}/series/1/instances/1/bulkdata/%2Fetc%2Fpasswd", f"{study}/series/1/instances/1/bulkdata/0/0/0/0/00100010",
                 "/dicom-web/studies/%ff%fe", "/dicom-web/studies/" + "1." * 2000, "/dicom-web/studies/1.2.3\\1.2.4",
                 "/dicom-web/studies/*", "/dicom-web/studies/1.2.3?x=" + "%00" * 100):
        reply = site.get(path, accept="*/*")
        seen[path] = reply.status
        stopped(reply.status in (400, 401, 403, 404, 414), f"{path[:80]}: {reply.status}")
        stopped("root:" not in reply.text() and "gantry_" not in reply.text(), path[:80])
    return f"{len(seen)} paths: {', '.join(map(str, sorted(set(seen.values()))))}"


@attack(WHO, "Connections in masses")
def connections(site):
    socks = []
    try:
        for _ in range(900):
            try:
                socks.append(plain(site.http))
            except OSError:
                pass  # closed at once
        held = site.established(*(sock.getsockname()[1] for sock in socks))
        stopped(held <= 512, f"{held} connections of one address are held")
        site.normal()
    finally:
        for sock in socks:
            sock.close()
    return f"of 900 of one address {held} are held; others are served"


@attack(WHO, "Requests in masses")
def requests(site):

    def flood(_):
        with Web(site, ATTACKER) as sock:
            sock.sendall(head("/dicom-web/studies", token=site.tokens["viewer"]) * 100)
            got = []
            for _ in range(100):
                reply = read_reply(sock)
                got.append(reply.status)
                if "close" in reply.fields.get("connection", "") or not reply.status:
                    break
            return got

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(flood, number) for number in range(40)]
        times = []
        while not all(future.done() for future in futures):
            begin = time.monotonic()
            site.normal()
            times.append(time.monotonic() - begin)
        seen = [status for future in futures for status in future.result()]
    limited = sum(status == 429 for status in seen)
    stopped(limited > 0 and set(seen) <= {0, 200, 429, 503}, f"{ {status: seen.count(status) for status in set(seen)} }")
    wait = statistics.median(times) * 1e3
    return f"{seen.count(200)} answered, {limited} told to come back (429); the site's own users need {wait:.0f} ms meanwhile"


@attack(WHO, "Too much in one request: ranges, Accept, frames, keys, bodies, heads")
def too_much(site):
    token, seen = site.tokens["viewer"], {}
    one = json.loads(site.get(f"/dicom-web/instances?StudyInstanceUID={site.study}&limit=1").body)[0]
    series, instance = (one[tag]["Value"][0] for tag in ("0020000E", "00080018"))
    at = f"/dicom-web/studies/{site.study}/series/{series}/instances/{instance}"
    frames = 'multipart/related; type="application/octet-stream"'
    tries = {
        "ranges": (at + "/bulkdata/7FE00010", "Range: bytes=" + ",".join(f"{n}-{n}"
                                                                         for n in range(3000)) + "\r\n", "application/octet-stream"),
        "overlapping ranges": (at + "/bulkdata/7FE00010", "Range: bytes=" + ",".join(["0-"] * 1500) + "\r\n", "*/*"),
        "a range at the end of numbers": (at + "/bulkdata/7FE00010", "Range: bytes=18446744073709551615-18446744073709551616\r\n", "*/*"),
        "Accept": (at, "", ", ".join(f'multipart/related; type="application/dicom"; transfer-syntax=1.2.{n}; q=0.{n}' for n in range(400))),
        "Accept of quotes": (at, "", "multipart/related; type=" + '"\\' * 8000),
        "frames": (at + "/frames/" + ",".join(["1"] * 2000), "", frames),
        "a frame at the end of numbers": (at + "/frames/18446744073709551616", "", frames),
        "no frame": (at + "/frames/0", "", frames),
        "keys": ("/dicom-web/studies?" + "&".join(f"{n:08X}=1" for n in range(400)), "", None),
        "depth": ("/dicom-web/studies?" + ".".join(["00400275"] * 300) + "=1", "", None),
        "fields": ("/dicom-web/studies?" + "&".join(["includefield=00100010"] * 280), "", None),
        "a limit at the end of numbers": ("/dicom-web/studies?limit=99999999999999999999&offset=99999999999999999999", "", None),
        "wildcards": ("/dicom-web/studies?PatientName=" + "*a" * 400, "", None),
        "a query": ("/dicom-web/studies?PatientName=" + "a" * 20000, "", None),
        "a head": ("/dicom-web/studies", "X: " + "a" * 40000 + "\r\n", None),
        "header fields": ("/dicom-web/studies", "X: a\r\n" * 3000, None),
        "conditions": (at, "If-None-Match: " + ", ".join(['"x"'] * 5000) + "\r\n", None),
    }
    for what, (path, more, accept) in tries.items():
        begin = time.monotonic()
        reply = ask(site, path, token=token, more=more, accept=accept)
        seen[what] = reply.status
        stopped(reply.status < 500, f"{what}: {reply.status} {reply.text()[:200]}")
        stopped(time.monotonic() - begin < 5, f"{what}: {time.monotonic() - begin:.1f} s")
        stopped(len(reply.body) < 64 << 20, f"{what}: {len(reply.body)} bytes")
    with Web(site, ATTACKER) as sock:
        sock.sendall(
            head("/dicom-web/studies",
                 "POST",
                 site.tokens["sender"],
                 more='Content-Type: multipart/related; type="application/dicom"; boundary=b\r\nContent-Length: 1000000000\r\n'))
        seen["a body of 1 GB"] = read_reply(sock).status
    stopped(seen["a body of 1 GB"] == 413, f"a body of 1 GB: {seen['a body of 1 GB']}")
    return ", ".join(f"{what} {status or 'closed'}" for what, status in seen.items())


@attack(WHO, "A page of another site in a user's browser")
def another_site(site):
    evil = "Origin: https://evil.example\r\nCookie: token=%s; gantry=%s\r\n" % (site.tokens["viewer"], site.tokens["operator"])
    for method, path in (("GET", "/dicom-web/studies"), ("DELETE", "/admin/cache"), ("POST", "/dicom-web/studies")):
        reply = ask(site, path, method=method, more=evil)
        stopped(reply.status == 401 and "access-control-allow-origin" not in reply.fields, f"{method}: {reply.head}")
    for origin in ("https://evil.example", "null", "https://viewer.example.evil.example", "http://viewer.example",
                   "https://viewer.example:444"):
        reply = ask(site,
                    "/dicom-web/studies",
                    method="OPTIONS",
                    more=f"Origin: {origin}\r\nAccess-Control-Request-Method: GET\r\n"
                    "Access-Control-Request-Headers: authorization\r\n")
        stopped("access-control-allow-origin" not in reply.fields, f"{origin}: {reply.head}")
    return "401: a cookie is nobody; no other origin is allowed"


@attack(WHO, "A token in the query, in a cookie, in a form")
def token_elsewhere(site):
    token = site.tokens["viewer"]
    seen = {
        ask(site, f"/dicom-web/studies?access_token={token}").status,
        ask(site, f"/dicom-web/studies?token={token}").status,
        ask(site, "/dicom-web/studies", more=f"Cookie: access_token={token}; Authorization=Bearer {token}\r\n").status,
        ask(site, "/dicom-web/studies", more=f"X-Authorization: Bearer {token}\r\n").status
    }
    stopped(seen <= {400, 401}, f"{seen}")
    return f"{', '.join(map(str, sorted(seen)))}"


@attack(WHO, "Guessing passwords, many at once")
def passwords(site):

    def guess(number):
        word = base64.b64encode(f"anna:guess{number}".encode()).decode()
        return ask(site, "/dicom-web/studies", more=f"Authorization: Basic {word}\r\n").status

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(guess, range(120)))
    stopped(200 not in seen and seen.count(401) <= 30 and set(seen) <= {401, 429, 503},
            f"{ {status: seen.count(status) for status in set(seen)} }")
    stopped(guess("correct horse") != 200, "who has guessed in vain is let in")
    return f"{seen.count(401)} of 120 are looked at, the others 429, in {time.monotonic() - begin:.1f} s; other addresses are served"
