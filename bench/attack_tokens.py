"""What the holder of a token, a password or a certificate can try, and who would like to be one."""

import base64
import hashlib
import hmac
import json
import socket
import statistics
import time

from attack_peers import rawdimse
from access import text
from attack_dimse import over_tls
from attack_peers import Object, image, part10
from attack_rows import attack
from attack_site import openssl, stopped
from attack_wire import LOOPBACK, Web, ask, head, multipart, read_reply, say, statuses

WHO = "Holders of tokens"


def all_refused(site, tokens, statuses=(401, )):
    """Each token is answered so, and a good one still comes in."""
    seen = {what: ask(site, "/dicom-web/studies", token=token).status for what, token in tokens.items()}
    bad = {what: status for what, status in seen.items() if status not in statuses}
    stopped(not bad, f"{bad}")
    stopped(ask(site, "/dicom-web/studies", token=site.issuer.good()).status == 200, "a good token is refused")
    return f"{len(seen)} ways: {', '.join(map(str, sorted(set(seen.values()))))}"


@attack(WHO, "Replay after expiry, also of one that was good a moment ago")
def replay(site):
    now = int(time.time())
    brief = site.issuer.good(exp=now + 3)
    with Web(site) as kept:
        while True:
            kept.sendall(head("/dicom-web/studies", token=brief))
            status = read_reply(kept).status
            stopped(status == 200 or time.time() > now + 3, "a good token is refused")
            if status != 200:
                break
            stopped(time.time() < now + 6, "an expired token goes on to be good on a connection that is open")
            time.sleep(0.3)
    stopped(status == 401, f"expired: {status}")
    return all_refused(
        site, {
            "replayed": brief, "long ago": site.issuer.good(exp=now - 3600), "not yet": site.issuer.good(nbf=now + 3600),
            "no end": site.issuer.good(exp=None), "an end in words": site.issuer.good(exp="2099"), "an end below zero": site.issuer.good(
                exp=-1), "an end of infinity": site.issuer.sign(site.issuer.claims()).replace(".", "..", 1)
        })


@attack(WHO, "alg none, and other ways to need no signature")
def unsigned(site):
    claims, nothing = site.issuer.claims(), lambda _: b""
    good = site.issuer.sign(claims)
    head, body, signature = good.split(".")
    tokens = {
        f"alg {alg}": site.issuer.sign(claims, {"alg": alg, "kid": "1"}, nothing)
        for alg in ("none", "None", "NONE", "nOnE", "", "RS256", "ES256", "null")
    }
    tokens |= {
        "no signature": f"{head}.{body}.", "two parts": f"{head}.{body}", "one part": head, "four parts": good + ".x",
        "a signature of zeros": f"{head}.{body}.{text(bytes(256))}", "of one byte": f"{head}.{body}.AA", "cut": good[:-2],
        "longer": good + "AA", "other claims": f"{head}.{text(json.dumps({**claims, 'sub': 'root'}).encode())}.{signature}",
        "padded": f"{head}.{body}.{signature}==", "the other alphabet": good.replace("-", "+").replace("_", "/") + "+/",
        "not there": site.issuer.sign(claims, {"kid": "1"}), "a list": site.issuer.sign(claims, {"alg": ["RS256"], "kid": "1"}),
        "critical": site.issuer.sign(claims, {"alg": "RS256", "kid": "1", "crit": ["b64"], "b64": False}),
        "an unencoded one": site.issuer.sign(claims, {"alg": "RS256", "kid": "1", "b64": False, "crit": ["b64"]}),
        "JWE": "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AA.AA.AA", "deep": f"{text(b'[' * 20000)}.{body}.{signature}",
        "deep claims": f"{head}.{text(b'[' * 20000)}.{signature}", "huge": "a" * 20000, "dots": "." * 5000, "empty": "x"
    }
    return all_refused(site, tokens)


@attack(WHO, "HS256 with the issuer's public key, RS for ES, and another's key")
def confusion(site):
    claims = site.issuer.claims()
    public = openssl("rsa", "-in", site.issuer.key, "-pubout")
    der = openssl("rsa", "-in", site.issuer.key, "-pubout", "-outform", "DER")
    modulus = bytes.fromhex(openssl("rsa", "-in", site.issuer.key, "-noout", "-modulus").decode().strip().removeprefix("Modulus="))
    tokens = {}
    for name, secret in {
            "PEM": public, "PEM without its end": public.strip(), "DER": der, "modulus": modulus, "modulus in text": text(modulus).encode(),
            "nothing": b"", "kid": b"1"
    }.items():
        for alg, digest in (("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)):
            tokens[f"{alg}, {name}"] = site.issuer.sign(claims, {"alg": alg, "kid": "1", "typ": "JWT"},
                                                        lambda data, s=secret, d=digest: hmac.new(s, data, d).digest())
    foreign = site.folder / "foreign.key"
    openssl("genrsa", "-out", foreign, "2048")
    for alg in ("RS256", "PS256", "ES256", "EdDSA", "RS512", "RS1", "RSA1_5"):
        tokens[f"{alg} by another"] = site.issuer.sign(claims, {"alg": alg, "kid": "1"}, lambda data: site.issuer.rsa(data, foreign))
    # ECDSA's signature of zeros (CVE-2022-21449).
    tokens["ES256 of zeros"] = site.issuer.sign(claims, {"alg": "ES256", "kid": "1"}, lambda _: bytes(64))
    return all_refused(site, tokens)


@attack(WHO, "Games with kid, jku, jwk, x5u")
def kid_games(site):
    listener = socket.create_server((LOOPBACK, 0))
    listener.settimeout(0.2)
    url, claims, foreign = f"http://{LOOPBACK}:{listener.getsockname()[1]}/keys", site.issuer.claims(), site.folder / "foreign.key"
    if not foreign.exists():
        openssl("genrsa", "-out", foreign, "2048")
    modulus = bytes.fromhex(openssl("rsa", "-in", foreign, "-noout", "-modulus").decode().strip().removeprefix("Modulus="))
    jwk = {"kty": "RSA", "n": text(modulus), "e": "AQAB", "kid": "2"}
    heads = {
        "a path": {"kid": "../../../../dev/null"}, "a URL": {"kid": url}, "SQL": {"kid": "1' OR '1'='1"},
        "a command": {"kid": "1;sleep 10"}, "long": {"kid": "1" * 10000}, "a number": {"kid": 1}, "line ends": {"kid": "1\r\nX: 1"},
        "jku": {"kid": "2", "jku": url}, "x5u": {"kid": "2", "x5u": url}, "jwk": {"kid": "2",
                                                                                  "jwk": jwk}, "jwk of kid 1": {"kid": "1",
                                                                                                                "jwk": jwk}, "none": {},
        "x5c": {"kid": "2", "x5c": [base64.b64encode(openssl("x509", "-in", site.pki.pem("mallory"), "-outform", "DER")).decode()]}
    }
    seen = all_refused(site, {
        what: site.issuer.sign(claims, {"alg": "RS256", **head}, lambda data: site.issuer.rsa(data, foreign))
        for what, head in heads.items()
    })
    try:
        listener.accept()
        stopped(False, "a URL out of a token is called")
    except TimeoutError:
        pass
    return f"{seen}; no URL of a token is called"


@attack(WHO, "A token of another audience, issuer or purpose; two of them")
def other_audience(site):
    issuer = site.issuer
    seen = all_refused(
        site, {
            "audience": issuer.good(aud="other"), "audiences": issuer.good(aud=["a", "b"]), "no audience": issuer.good(aud=None),
            "a part of it": issuer.good(aud="gantr"), "with a star": issuer.good(aud="*"),
            "issuer": issuer.good(iss="https://evil.example"), "issuer with a slash": issuer.good(iss=issuer.url + "/"),
            "no issuer": issuer.good(iss=None), "a list of issuers": issuer.good(iss=[issuer.url])
        })
    good = site.tokens["viewer"]
    for fields in (f"Authorization: Bearer x\r\nAuthorization: Bearer {good}\r\n", f"Authorization: Bearer x, Bearer {good}\r\n",
                   f"Authorization: {good}\r\n", f"Authorization: Basic {good}\r\n"):
        answer = say(site, f"GET /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: close\r\n{fields}\r\n".encode())
        stopped(statuses(answer)[0] in (400, 401), f"{fields.split(':')[1][:20]}: {statuses(answer)}")
    no_scope = {
        ask(site, "/dicom-web/studies", token=issuer.good(scope=scope)).status
        for scope in ("openid", "", "READER", "reader/", "user/ImagingStudy.read?patient=1", "patient/reader", "patient/ImagingStudy.rs",
                      "admin", "dicomweb:")
    }
    stopped(no_scope == {403}, f"scopes that say nothing: {no_scope}")
    elsewhere = ask(site, "/dicom-web/studies", token=issuer.good(scope="dicomweb:search:scripted")).status
    stopped(elsewhere == 404, f"another archive: {elsewhere}")
    return f"{seen}; without a scope 403, at an archive that it is not for 404"


@attack(WHO, "More than a token's rights: storing, operating, emptying the cache")
def more_rights(site):
    kind, body = multipart(part10(image("2.25.5", "2.25.5.1", "2.25.5.2"), "2.25.5.2"))
    viewer = [
        site.get("/dicom-web/studies", method="POST", more=kind, body=body).status,
        site.get("/metrics").status,
        site.get("/admin/cache", method="DELETE").status
    ]
    operator = [site.get(path, "operator").status for path in ("/dicom-web/studies", f"/dicom-web/studies/{site.study}")]
    sender = [site.get(f"/dicom-web/studies/{site.study}", "sender").status, site.get("/archives/scripted/studies", "sender").status]
    stopped(viewer == [403] * 3 and operator == [403] * 2 and sender == [403, 404], f"{viewer} {operator} {sender}")
    return "403, or 404 where there would be something to learn"


@attack(WHO, "A token for one patient asks for another one's")
def another_patient(site):
    issuer, main = site.issuer, "/dicom-web"
    everything = json.loads(site.get(f"{main}/studies?includefield=00100020").body)
    own_study, other = everything[0], next(one for one in everything if one["00100020"]["Value"] != everything[0]["00100020"]["Value"])
    patient, own, theirs = own_study["00100020"]["Value"][0], own_study["0020000D"]["Value"][0], other["0020000D"]["Value"][0]
    one = json.loads(site.get(f"{main}/instances?StudyInstanceUID={theirs}&limit=1").body)[0]
    series, instance = (one[tag]["Value"][0] for tag in ("0020000E", "00080018"))
    tokens = {
        "patient": issuer.good(scope="patient/ImagingStudy.rs", patient=patient), "patients": issuer.good(gantry_patients=[patient]),
        "study": issuer.good(gantry_studies=[own]), "nobody": site.tokens["oneparty"]
    }
    unknown = "1.2.3.4.5"
    count = 0
    for what, token in tokens.items():
        for theirs_path, nobodys_path in (
            (f"/studies/{theirs}", f"/studies/{unknown}"), (f"/studies/{theirs}/metadata", f"/studies/{unknown}/metadata"),
            (f"/studies/{theirs}/series/{series}", f"/studies/{unknown}/series/1.2"), (f"/studies/{own}/series/{series}",
                                                                                       f"/studies/{own}/series/1.2"),
            (f"/studies/{own}/series/{series}/instances/{instance}",
             f"/studies/{own}/series/1.2/instances/1.2"), (f"/studies/{theirs}/series/{series}/instances/{instance}/frames/1",
                                                           f"/studies/{unknown}/series/1.2/instances/1.2/frames/1"),
            (f"/studies/{theirs}/series/{series}/instances/{instance}/bulkdata/7FE00010",
             f"/studies/{unknown}/series/1.2/instances/1.2/bulkdata/7FE00010"),
            (f"/studies/{theirs}/series/{series}/instances/{instance}/rendered", f"/studies/{unknown}/series/1.2/instances/1.2/rendered"),
            (f"?requestType=WADO&studyUID={theirs}&seriesUID={series}&objectUID={instance}&contentType=application/dicom",
             f"?requestType=WADO&studyUID={unknown}&seriesUID=1.2&objectUID=1.2&contentType=application/dicom")):
            got, nothing = (ask(site, main + path, token=token, accept="*/*") for path in (theirs_path, nobodys_path))
            stopped((got.status, got.body.replace(theirs.encode(), b"")) == (nothing.status, nothing.body.replace(unknown.encode(), b""))
                    or got.status == nothing.status == 404,
                    f"{what}: {theirs_path.split('?')[0]}: {got.status}, of what is not there: {nothing.status}")
            stopped(got.status in (400, 404, 406, 501), f"{what}: {theirs_path}: {got.status}")
            count += 1
        for query in (f"/studies?StudyInstanceUID={theirs}", "/studies?PatientID=*",
                      f"/studies?PatientID={patient}\\{other['00100020']['Value'][0]}", f"/studies?StudyInstanceUID={own}\\{theirs}",
                      f"/series?SeriesInstanceUID={series}", f"/instances?SOPInstanceUID={instance}", f"/studies/{theirs}/series",
                      f"/studies/{theirs}/instances", f"/studies?PatientID={other['00100020']['Value'][0]}",
                      f"/studies?00100020={patient}&PatientID=*", "/instances?includefield=all",
                      "/studies?fuzzymatching=true&PatientName=*"):
            reply = ask(site, main + query, token=token)
            stopped(theirs not in reply.text(), f"{what}: {query}")
            count += 1
        stopped(what == "nobody" or ask(site, f"{main}/studies/{own}", token=token).status == 200, f"{what}: its own study is not there")
    # Having been brought into the cache by others changes nothing.
    site.objects("main", theirs)
    stopped(ask(site, f"{main}/studies/{theirs}", token=tokens["patient"]).status == 404, "out of the cache")
    return f"{count} requests: nothing of others, and the same answer as for what is not there"


@attack(WHO, "Storing into another patient's study, also by an object that says two UIDs")
def store_elsewhere(site):
    own, theirs = "2.25.32", site.study
    token = site.issuer.good(scope="dicomweb:store dicomweb:search", gantry_studies=[own])
    twice = image(own, "2.25.31.1", "2.25.31.2") + image(theirs, "2.25.31.1", "2.25.31.2")
    cases = {
        "theirs": image(theirs, "2.25.31.1", "2.25.31.2"), "both": image(f"{own}\\{theirs}", "2.25.31.1", "2.25.31.2"),
        "one after the other": twice, "of another length": image(own + "\0\0" + theirs, "2.25.31.1", "2.25.31.2"), "none": b"",
        "behind others": image(own, "2.25.31.1", "2.25.31.2") + image(theirs, "2.25.31.1", "2.25.31.2")[-80:]
    }
    before, seen = site.get(f"/dicom-web/instances?StudyInstanceUID={theirs}").body, {}
    for what, data in cases.items():
        for path in ("/dicom-web/studies", f"/dicom-web/studies/{own}", f"/dicom-web/studies/{theirs}"):
            kind, body = multipart(part10(data, "2.25.31.2"))
            reply = ask(site, path, token=token, method="POST", more=kind, body=body, accept="application/dicom+json")
            seen[what] = reply.status
            stopped(reply.status >= 400, f"{what}: {reply.status}")
    stopped(site.get(f"/dicom-web/instances?StudyInstanceUID={theirs}").body == before, "something was stored there")
    kind, body = multipart(part10(image(own, "2.25.31.1", "2.25.31.3"), "2.25.31.3"))
    reply = ask(site, "/dicom-web/studies", token=token, method="POST", more=kind, body=body, accept="application/dicom+json")
    stopped(reply.status == 200, f"its own study: {reply.status} {reply.text()[:200]}")
    return ", ".join(f"{what} {status}" for what, status in seen.items())


@attack(WHO, "Guessing UIDs: by the answer, and by how long it takes")
def guessing(site):
    everything = json.loads(site.get("/dicom-web/studies?includefield=00100020").body)
    token = site.issuer.good(scope="patient/ImagingStudy.rs", patient=everything[0]["00100020"]["Value"][0])
    theirs = next(one["0020000D"]["Value"][0] for one in everything if one["00100020"]["Value"] != everything[0]["00100020"]["Value"])
    times = {"there": [], "not there": []}
    for number in range(31):
        for what, study in (("there", theirs), ("not there", f"2.25.{900 + number % 2}")):
            begin = time.perf_counter()
            reply = ask(site, f"/dicom-web/studies/{study}", token=token)
            times[what].append(time.perf_counter() - begin)
            stopped(reply.status == 404, f"{what}: {reply.status}")
    there, not_there = (statistics.median(values[1:]) for values in times.values())
    stopped(0.67 < there / not_there < 1.5, f"{there * 1e3:.1f} ms where there is one, {not_there * 1e3:.1f} ms where not")
    return f"404 both times; medians {there * 1e3:.1f} and {not_there * 1e3:.1f} ms"


@attack(WHO, "A token for one patient that names none")
def names_none(site):
    seen = {
        scope: {
            ask(site, "/dicom-web/studies", token=site.issuer.good(scope=scope, patient=patient)).status
            for patient in (None, "", [], {}, ["*"], 0, True)
        }
        for scope in ("patient/ImagingStudy.rs", "patient/reader")
    }
    stopped(all(found <= {204, 401, 403} for found in seen.values()), f"{seen}")
    for patients in ([], "", "*", {"a": 1}, None):
        reply = ask(site, "/dicom-web/studies", token=site.issuer.good(gantry_patients=patients))
        stopped(patients is None or reply.status in (204, 401, 403), f"gantry_patients = {patients!r}: {reply.status}")
    return "403, or nothing is found"


@attack(WHO, "An archive that takes no notice of whose a study is, before a token for one patient")
def careless_archive(site):
    secret = Object("2.25.41", "2.25.41.1", "2.25.41.2", image("2.25.41", "2.25.41.1", "2.25.41.2", patient="OTHER"))

    def says(lie):

        def find(connection, command, keys):
            # It answers whatever was asked for, and says of it what suits.
            site.scripted.match(connection, command, secret, keys.get(0x00080052, "STUDY"), changed=lie(keys))
            rawdimse_respond(connection, command)

        return find

    token, seen = site.issuer.good(scope="patient/ImagingStudy.rs", patient="MINE"), set()
    for lie in (lambda _: {0x00100020: "OTHER"}, lambda _: {0x00100020: ""}, lambda _: {0x00100020: "MINE\\OTHER"},
                lambda _: {0x00100020: "mine"}):
        site.scripted.reset(secret, on_find=says(lie))
        for path in ("/studies", "/series", "/instances", "/studies/2.25.41", "/studies/2.25.40/series/2.25.41.1",
                     "/studies/2.25.40/series/2.25.41.1/instances/2.25.41.2", "/instances?SOPInstanceUID=2.25.41.2"):
            reply = ask(site, "/archives/scripted" + path, token=token)
            stopped(reply.status != 200 and "2.25.41" not in reply.text(), f"{path}: {reply.status} {reply.text()[:200]}")
            seen.add(reply.status)
    site.scripted.reset()
    return f"{', '.join(map(str, sorted(seen)))}: what counts is what the archive says itself of each match"


def rawdimse_respond(connection, command):
    connection.send(
        command["context"],
        {"sop_class": command["sop_class"], "command": rawdimse.C_FIND_RQ | 0x8000, "responding_to": command["message_id"], "status": 0})


@attack(WHO, "Coming with what was taken out of a file, or has expired")
def taken_out(site):
    token = site.tokens["leaver"]
    stopped(ask(site, "/dicom-web/studies", token=token).status == 200, "the token is not good yet")
    begin = time.monotonic()
    site.write_tokens(leave_out=("leaver", ))
    site.until("who was taken out is out", lambda: ask(site, "/dicom-web/studies", token=token).status == 401, 20)
    took = time.monotonic() - begin
    # A file that cannot be read lets nobody back in.
    (site.folder / "tokens.toml").write_text("nonsense [")
    time.sleep(2.5)
    stopped(ask(site, "/dicom-web/studies", token=token).status == 401, "a broken file lets them in again")
    site.write_tokens()
    site.pki.issue("past", "/O=Hospital/CN=VIEWER", "email:viewer@hospital.example", days=-1)
    try:
        status = ask(site, "/dicom-web/studies", certificate=(site.pki.pem("past"), site.pki.key("past"))).status
    except OSError:
        status = "no connection"
    stopped(status in (0, 401, "no connection"), f"an expired certificate: {status}")
    return f"out after {took:.1f} s; an expired certificate gets {status or 'no answer'}"


@attack(WHO, "A device that signs certificates for others; a certificate with another's subject among its names")
def certificates(site):
    pki = site.pki
    pki.issue("forged", "/O=Hospital/CN=WARD", "email:ward@hospital.example", by="device")
    pki.issue("alias", "/CN=guest", "URI:CN=WARD,O=Hospital", "DNS:WARD", "email:CN=WARD")
    pki.issue("turned", "/CN=WARD\\,O=Hospital", "DNS:WARD")
    pki.issue("longer", "/O=Hospital/CN=WARD/CN=guest", "DNS:WARD")
    pki.issue("unknown", "/O=Hospital/CN=WARD", "DNS:WARD", by="mallory")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pki.key("self"), "-out", pki.pem("self"), "-subj",
            "/O=Hospital/CN=WARD", "-days", "30")
    seen = {name: over_tls(site, name) for name in ("forged", "alias", "turned", "longer", "unknown", "self", None)}
    stopped("accepted" not in seen.values(), f"{seen}")
    web = {}
    pki.issue("webalias", "/CN=guest", "URI:CN=VIEWER,O=Hospital")
    pki.issue("webforged", "/O=Hospital/CN=VIEWER", "DNS:x", by="device")
    for name in ("webalias", "webforged", "device", "unknown"):
        try:
            web[name] = ask(site, "/dicom-web/studies", certificate=(pki.pem(name), pki.key(name))).status
        except OSError:
            web[name] = 0
    stopped(set(web.values()) <= {0, 401}, f"{web}")
    stopped(ask(site, "/dicom-web/studies", certificate=(pki.pem("viewer"), pki.key("viewer"))).status == 200, "the listed one is refused")
    return f"no association ({len(seen)} ways), no request ({len(web)} ways); the listed certificates come"


@attack(WHO, "Filling the audit trail with refusals")
def fill_the_trail(site):
    before = len(site.audit())
    # From an address that has not been refused yet.
    with Web(site, "127.0.0.67") as sock:
        for number in range(300):
            sock.sendall(f"GET /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x{number}\r\n\r\n".encode())
            if not sock.recv(1 << 16):
                break
    site.until("the trail is written", lambda: len(site.audit()) > before)
    time.sleep(1)
    records = len(site.audit()) - before
    stopped(records < 60, f"{records} records")
    return f"300 refusals of one address: {records} records, which tell their number"
