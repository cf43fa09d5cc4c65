"""What is left behind: the log, the audit trail, the cache's files. These come last, as they read what all others have left."""

import json
import os
import re
import signal
import stat
import time

from attack_peers import rawdimse
from attack_dimse import refused
from attack_rows import attack
from attack_site import Succeeded, stopped
from attack_wire import ATTACKER, ask

WHO = "What is left behind"
EVIL = "evil\r\n2026-01-01T00:00:00Z ERROR forged\x1b[31m\u202e"


@attack(WHO, "Line ends, colours and forged lines in the log and the audit trail")
def forged(site):
    ask(site,
        "/dicom-web/studies?PatientID=%0D%0A2026-01-01%20ERROR%20forged%1b[31m&"
        "PatientName=</ActiveParticipant><EventIdentification>%22%7D%5D",
        token=site.tokens["viewer"])
    ask(site, "/archives/%0D%0Aforged%1b[31m/studies", token=site.tokens["viewer"])
    ask(site, "/dicom-web/studies", token=site.issuer.good(sub=EVIL, scope="reader"))
    ask(site, "/dicom-web/studies", token=site.issuer.good(sub='"}]}\n{"EventIdentification": {"EventID": "forged"}}', scope="reader"))
    ask(site, "/dicom-web/studies", more="User-Agent: \x1b[31mforged\r\nReferer: http://x/\x1b[31mforged\r\n")
    for title in ("A\x1b[31mforged", "A\r\nforged", "<forged/>", '"}]}forged'):
        try:
            refused(site, calling=title, source=ATTACKER)
        except UnicodeEncodeError:
            pass
    site.until("the refusal is written", lambda: site.audit_has("forged"))
    time.sleep(1)
    log = site.log()
    stopped("\x1b[31m" not in log and "\u202e" not in log, "a colour or a direction in the log")
    stopped(not any(re.match(r"\s*(2026-01-01|forged|<forged|\"\})", line) for line in log.splitlines()), "a forged line in the log")
    records = site.audit()
    stopped(all("EventIdentification" in record and record["EventIdentification"]["EventID"].get("csd-code") for record in records),
            "a forged record")
    controls = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]")

    def texts(value):
        stack = [value]
        while stack:
            one = stack.pop()
            stack.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if isinstance(one, str):
                yield one

    stopped(not any(controls.search(found) for record in records for found in texts(record)), "control characters in the trail")
    return f"no line begins with foreign text; {len(records)} records, each whole"


@attack(WHO, "Patient data, tokens and UIDs in the log; names in the audit trail")
def patient_data(site):
    matches = json.loads(site.get("/dicom-web/studies?includefield=00100020&includefield=00100030").body)
    # Those of the site itself: others have stored what has no name.
    matches = [one for one in matches if one["0020000D"]["Value"][0] in site.studies]
    names = {one["00100010"]["Value"][0]["Alphabetic"] for one in matches}
    ids = {one["00100020"]["Value"][0] for one in matches}
    one = next(name for name in names if name.isascii()).split("^")[0]
    site.get(f"/dicom-web/studies?PatientName={one}*")
    association = site.associate()
    association.find({0x00080052: "STUDY", 0x00100010: one + "*", 0x0020000D: ""})
    association.release()
    time.sleep(1.5)
    log, trail = site.log(), (site.folder / "audit.jsonl").read_text()
    for name in names:
        stopped(name not in log and name.split("^")[0] not in log, "a name in the log")
        stopped(name not in trail and name.split("^")[0] not in trail, "a name in the audit trail")
    secrets = {*site.tokens.values(), "correct horse"}
    stopped(not any(secret in log or secret in trail for secret in secrets), "a token in the log or the trail")
    stopped(not any(f" {one} " in log or f"={one}" in log for one in ids), "a Patient ID in the log")
    stopped(not any(study in log for study in site.studies), "a UID in the log")
    metrics = site.get("/metrics", "operator").text()
    stopped(not any(text in metrics for text in (*names, *ids, *site.studies, *secrets, "jane", "anna")),
            "patients, users or UIDs in the metrics")
    return f"none in {len(log) >> 10} KiB of log, {len(trail) >> 10} KiB of trail, and the metrics"


@attack(WHO, "Flooding the audit trail; a receiver of it that never reads")
def flood_the_trail(site):
    before, begin = len(site.audit()), time.monotonic()
    count = 4500
    for number in range(count):
        if number % 100 == 0:
            client = site.associate(contexts=[(rawdimse.STUDY_ROOT_FIND, [rawdimse.IMPLICIT_LE])])
        client.find({0x00080052: "STUDY", 0x0020000D: f"2.25.{number}", 0x00100020: "x" * 60})
        if number % 100 == 99:
            client.release()
    took = time.monotonic() - begin
    site.until("the file has them all", lambda: len(site.audit()) - before >= count, 30)
    spool = sum(file.stat().st_size for file in (site.folder / "spool").iterdir())
    stopped(spool < 6 << 20, f"the spool has {spool} bytes")
    lost = re.findall(r"gantry_audit_lost_total\S* (\d+)", site.get("/metrics", "operator").text())
    return (f"{count} searches in {took:.1f} s are all in the file; the spool has {spool >> 10} KiB (at most 4 MiB); "
            f"for the receiver that never reads {'+'.join(lost)} are lost, and counted")


@attack(WHO, "The cache's files: who may read them, what their names say, and changed bytes")
def cache_files(site):
    for study in site.studies:
        site.objects("main", study)
    # More than memory holds goes to the disk; so does what was spilled before.
    folder = site.folder / "cache"
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in [
            folder, *folder.rglob("*"), site.folder / "spool", *(site.folder / "spool").iterdir(), site.folder / "state",
            site.folder / "audit.jsonl"
    ]:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        stopped(mode == (0o700 if path.is_dir() else 0o600), f"{path.name}: {mode:o}")
        stopped(not any(study in path.name for study in site.studies), f"a UID in {path.name}")
    changed = 0
    for path in files:
        if path.stat().st_size > 2000:
            with open(path, "r+b") as file:
                file.seek(path.stat().st_size // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 0xFF]))
            changed += 1
    for study in site.studies:
        try:
            if site.objects("main", study) != site.whole[study]:
                raise Succeeded("changed bytes are served")
        except LookupError:
            pass  # seen, and cut off: asked again it is whole
        stopped(site.objects("main", study) == site.whole[study], "it is not whole the second time")
    return f"0600 in 0700, numbers for names; {changed} of {len(files)} files with a changed byte: none is served"


@attack(WHO, "A crash: kill -9 in the middle, and what the trail has then")
def crash(site):

    def searches():
        return sum("110112" in line for line in (site.folder / "audit.jsonl").read_text().splitlines())

    before = searches()
    marks = [f"2.25.88.{number}" for number in range(200)]
    client = site.associate(contexts=[(rawdimse.STUDY_ROOT_FIND, [rawdimse.IMPLICIT_LE])])
    for mark in marks:
        client.find({0x00080052: "STUDY", 0x0020000D: mark, 0x00100020: mark})
    # Files of the cache were changed: what is left of them would be found out once more.
    site.get("/admin/cache", "operator", method="DELETE")
    time.sleep(0.3)
    site.bridge.process.send_signal(signal.SIGKILL)
    site.bridge.process.wait()
    site.start()
    time.sleep(2)
    recorded, records = searches() - before, site.audit()
    stopped(recorded >= len(marks), f"{recorded} of {len(marks)} searches are recorded")
    return (f"the trail has all {len(marks)} searches of the moment before, and {len(records)} records, each whole; "
            "the service goes on with its state and cache")
