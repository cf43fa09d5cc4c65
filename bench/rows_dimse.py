"""DIMSE clients through the bridge, beside the same clients directly at the archive."""

import os
import shutil
import statistics
import subprocess
import sys
from collections import namedtuple
from contextlib import contextmanager

import rawdimse
from client import Failed
from fleet import LOOPBACK, ROOT, Server, data, free_port, objects, scratch
from lab import MIB, Result, alternate, compared, per_round, row
from rawdimse import IMPLICIT_LE, STUDY_ROOT_FIND
from rows_search import ADDED_SECONDS, FINDS_PER_ROUND, STUDY_KEYS

LIMIT = 1.15
# A client with nothing in its way: the delays of Nagle's algorithm would hide what the bridge adds.
QUICK = {**os.environ, "TCP_NODELAY": "1"}
MOST_MEMORY_MIB = 64

# The host, port and title of a server, as rows name it.
Peer = namedtuple("Peer", "host port title")


def run(program, peer, *options):
    command = [f"/usr/bin/{program}", "-aec", peer.title, *options[:-1], peer.host, str(peer.port), *options[-1]]
    done = subprocess.run(command, env=QUICK, capture_output=True, text=True)
    # The clients end with 0 where the archive tells of failures.
    if done.returncode or "\nE: " in f"\n{done.stderr}" or "\nW: " in f"\n{done.stderr}":
        raise Failed(f"{program}: {done.returncode} {done.stderr[-500:]}")
    return done


def keys(study):
    return "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"


def get(peer, study, into=None):
    return run("getscu", peer, *keys(study), *(("-od", str(into)) if into else ("--ignore",)), ())


def move(peer, study, mover):
    title, port = mover
    return run("movescu", peer, "-v", "-aet", title, "-aem", title, "--port", str(port), "--ignore", *keys(study), ())


def store(peer, files):
    return run("storescu", peer, [str(file) for file in files])


@contextmanager
def relay(peer):
    """The same peer behind a process that passes bytes on."""
    port = free_port()
    server = Server("relay", scratch("relay"), [sys.executable, ROOT / "bench/relay.py", str(port), str(peer.port)], [port])
    try:
        yield peer._replace(port=port)
    finally:
        server.stop()


def beside_a_relay(lab, bridge, work, direct, name, **options):
    """The result of one work: directly, through a relay of bytes, which the note tells of, and through the bridge."""
    with relay(direct) as between:
        works = [lambda peer=peer: work(peer) for peer in (direct, between, Peer(*bridge.dimse))]
        alternate(1, *works)
        bridge.begun, bridge.spent = bridge.account.cpu(), 0.0
        plain, relayed, bridged = alternate(lab.options.rounds, *works, **options)
    ratio = statistics.median(relayed) / statistics.median(plain)
    return compared(name, f"{name.split()[0]}, direct", (plain, bridged), limit=LIMIT, note=f"a relay of bytes: {ratio:.2f} ×",
                    **per_round(bridge, lab.options.rounds))


def check(lab, peer):
    """What comes through is what is there, before its time counts."""
    folder = scratch("got")
    try:
        get(peer, lab.study, folder)
        got = len(list(folder.iterdir()))
        if got != len(lab.slices):
            raise Failed(f"getscu got {got} objects of {len(lab.slices)}")
        text = move(peer, lab.study, lab.mover).stderr
        if text.count("Received Store Request") != len(lab.slices):
            raise Failed(f"movescu got {text.count('Received Store Request')} objects of {len(lab.slices)}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@row("dimse")
def dimse(lab):
    rounds, slices = lab.options.rounds, f"{len(lab.slices)} CT slices"
    archive = lab.archive("pacs")
    direct = Peer(*archive.address)
    known = f'\n[ae.{lab.mover[0]}]\naddress = "{LOOPBACK}:{lab.mover[1]}"\n'
    for state, cache in (("", ""), (", cache off", 'memory = "0"')):
        with lab.bridge(archive, cache=cache + known) as bridge:
            through = Peer(*bridge.dimse)
            check(lab, through)
            before = bridge.purge if not state else None
            yield beside_a_relay(lab, bridge, lambda peer: get(peer, lab.study), direct, f"getscu of {slices}{state}", before=before)
            bridge.begun, bridge.spent = bridge.account.cpu(), 0.0
            times = alternate(rounds, lambda: move(direct, lab.study, lab.mover), lambda: move(through, lab.study, lab.mover), before=before)
            yield compared(f"movescu of {slices}{state}", "movescu, direct", times, limit=LIMIT, **per_round(bridge, rounds))
    files = [lab.ct / entry["file"] for entry in lab.slices]
    receiver = lab.archive("pacs", [])
    with lab.bridge(receiver) as bridge:
        yield beside_a_relay(lab, bridge, lambda peer: store(peer, files), Peer(*receiver.address), f"storescu of {slices}")
    yield from finds(lab)
    yield from memory(lab)


def finds(lab):
    archive = lab.orthanc()
    with lab.bridge(archive) as bridge:
        ways = [rawdimse.Association(*address, [(STUDY_ROOT_FIND, [IMPLICIT_LE])]) for address in (archive.address, bridge.dimse)]

        def find(association):
            matches, final = association.find({0x00080052: "STUDY", **dict.fromkeys(STUDY_KEYS, ""), 0x0020000D: lab.study})
            if len(matches) != 1 or final["status"]:
                raise Failed(f"C-FIND: {len(matches)} matches, {final}")

        works = [lambda way=way: find(way) for way in ways]
        alternate(5, *works)
        bridge.begun, bridge.spent = bridge.account.cpu(), 0.0
        direct, through = alternate(FINDS_PER_ROUND * lab.options.rounds, *works)
        added = statistics.median(through) - statistics.median(direct)
        for way in ways:
            way.release()
        yield Result("C-FIND of one study, Orthanc", "C-FIND, direct", statistics.median(direct) * 1e3,
                     statistics.median(through) * 1e3, "ms", added / ADDED_SECONDS, 1.0, "adds ≤ 1 ms",
                     note="the ratio is of what it adds, to 1 ms",
                     spread=[min(direct), max(direct), min(through), max(through)], **per_round(bridge, len(direct)))


def memory(lab):
    """One large object there and back, without a cache."""
    big = data("big", "--bytes", str(lab.options.big))
    large, receiver, file = lab.archive("pacs", [big]), lab.archive("pacs", []), big / "big.dcm"
    size = f"object of {file.stat().st_size / 1e9:.1f} GB"
    works = (("getscu", large, lambda peer: get(peer, objects(big)[0]["study"])), ("storescu", receiver, lambda peer: store(peer, [file])))
    for name, archive, work in works:
        with lab.bridge(archive, cache='memory = "0"') as bridge:
            work(Peer(*bridge.dimse))
            peak = (bridge.account.peak() - bridge.idle) / MIB
            yield Result(f"memory, {size}, {name}", f"{MOST_MEMORY_MIB} MiB", MOST_MEMORY_MIB, peak, "MiB", peak / MOST_MEMORY_MIB, 1.0,
                         f"≤ {MOST_MEMORY_MIB} MiB")
