"""Retrieval of a whole study: the bridge beside raw DIMSE clients, and beside nginx."""

import os
import shutil
import subprocess

import rawdimse
from client import OBJECTS, Http
from fleet import ROOT, Bridge, scratch
from lab import alternate, compared, per_round, row, timed, wado
from rawdimse import EXPLICIT_LE, IMPLICIT_LE, STUDY_ROOT_GET, STUDY_ROOT_MOVE

ARCHIVES = ("orthanc", "dcmqrscp")
NAMES = {"orthanc": "Orthanc", "dcmqrscp": "dcmqrscp", "pacs": "gantry pacs"}
# The bound is a rate of 0.7.
OF_NGINX = 1 / 0.7


def dimse_get(archive, objects):
    """Retrieves the study with C-GET on a new association, counting bytes only."""
    sop_class, study = objects[0]["sop_class"], objects[0]["study"]
    contexts = [(STUDY_ROOT_GET, [IMPLICIT_LE]), (sop_class, [EXPLICIT_LE])]
    association = rawdimse.Association(*archive.address, contexts, roles=[sop_class])
    sizes = []
    final = association.get({0x00080052: "STUDY", 0x0020000D: study}, lambda _r, _t, size: sizes.append(size), keep=False)
    association.release()
    assert len(sizes) == len(objects) and final["status"] == 0, (len(sizes), final)


def dimse_move(archive, objects, destination, sizes):
    sizes.clear()
    association = rawdimse.Association(*archive.address, [(STUDY_ROOT_MOVE, [IMPLICIT_LE])])
    final = association.move({0x00080052: "STUDY", 0x0020000D: objects[0]["study"]}, destination)
    association.release()
    assert len(sizes) == len(objects) and final["status"] == 0, (len(sizes), final)


def getscu(archive, study, *prefix, **environment):
    """DCMTK's getscu, which throws the objects away."""
    host, port, title = archive.address
    command = [*prefix, "/usr/bin/getscu", "--ignore", "-S", "-aec", title, "-k", "QueryRetrieveLevel=STUDY",
               "-k", f"StudyInstanceUID={study}", host, str(port)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})


def quick():
    """What takes the delays of Nagle and of late acknowledgement out of a DCMTK client."""
    return {"TCP_NODELAY": "1", "LD_PRELOAD": str(ROOT / ".peers/quickack.so")}


# What the bridge begins with: its name, its cache, what is done before each round.
STATES = (("", "", Bridge.cold), (", purged cache", "", Bridge.purge), (", cache off", 'memory = "0"', Bridge.cold))


def warm_up(lab, bridge, path, before):
    """What is purged has to be filled first, which does not count."""
    if before is Bridge.purge:
        wado(bridge, path, lab.size)
        bridge.begun = bridge.account.cpu()


@row("get")
def by_get(lab):
    for kind in ARCHIVES:
        archive, study, rounds = lab.archive(kind), lab.study, lab.options.rounds
        for state, cache, before in STATES:
            # One bridge at a time: Orthanc serves four associations, those that idle included.
            with lab.bridge(archive, retrieve="get", cache=cache) as bridge:
                path = f"{bridge.path}/studies/{study}"
                warm_up(lab, bridge, path, before)
                raw, tuned, bridged = alternate(
                    rounds, lambda: dimse_get(archive, lab.slices), lambda: getscu(archive, study, **quick()),
                    lambda: wado(bridge, path, lab.size), before=lambda: before(bridge))
                best, name = min((raw, "raw C-GET"), (tuned, "getscu, NODELAY + QUICKACK"), key=lambda one: sorted(one[0])[rounds // 2])
                work = f"WADO-RS study by C-GET, {NAMES[kind]}"
                yield compared(work + state, name, (best, bridged), limit=1.15, **per_round(bridge, rounds))
                if not state:
                    stock = [timed(getscu, archive, study) for _ in range(lab.options.slow_rounds)]
                    yield compared(work, "stock getscu", (stock, bridged), limit=0.1)


@row("move")
def by_move(lab):
    for kind in ARCHIVES:
        archive, rounds = lab.archive(kind), lab.options.rounds
        destination, sizes = lab.receiver
        for state, cache, before in STATES:
            with lab.bridge(archive, retrieve="move", cache=cache) as bridge:
                path = f"{bridge.path}/studies/{lab.study}"
                warm_up(lab, bridge, path, before)
                times = alternate(rounds, lambda: dimse_move(archive, lab.slices, destination, sizes),
                                  lambda: wado(bridge, path, lab.size), before=lambda: before(bridge))
                yield compared(f"WADO-RS study by C-MOVE, {NAMES[kind]}{state}", "raw C-MOVE", times, limit=1.2,
                               **per_round(bridge, rounds))


@row("nginx")
def beside_nginx(lab):
    """The same bytes: what the bridge answers is what nginx then serves."""
    archive, rounds, root = lab.archive("pacs"), lab.options.rounds, scratch("www")
    try:
        root.chmod(0o755)
        with lab.bridge(archive, retrieve="get") as bridge, lab.nginx(root) as nginx:
            path = f"{bridge.path}/studies/{lab.study}"
            (root / "study").write_bytes(Http(bridge.address).get(path, OBJECTS, keep=True).body)
            nginx_times, cold, warm = alternate(rounds, lambda: wado(nginx, "/study", lab.size),
                                                lambda: wado(bridge, path, lab.size), lambda: wado(bridge, path, lab.size),
                                                before=bridge.cold)
            taken = per_round(bridge, 2 * rounds)
            bound = "≤ 1.43 × (rate ≥ 0.7 ×)"
            yield compared("WADO-RS study, gantry pacs", "nginx, same bytes", (nginx_times, cold), limit=OF_NGINX, bound=bound, **taken)
            yield compared("WADO-RS study, gantry pacs, again", "nginx, same bytes", (nginx_times, warm))
    finally:
        shutil.rmtree(root, ignore_errors=True)
