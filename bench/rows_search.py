"""Searches: QIDO-RS on a kept connection beside the same C-FIND on an open association."""

import os
import signal
import statistics
import subprocess

import rawdimse
from client import OBJECTS, Http
from lab import Result, alternate, compared, per_round, row
from rawdimse import IMPLICIT_LE, STUDY_ROOT_FIND

# What a study-level QIDO-RS asks for (PS3.18 Table 10.6.3-3), as return keys.
STUDY_KEYS = [0x00080005, 0x00080020, 0x00080030, 0x00080050, 0x00080056, 0x00080061, 0x00080090, 0x00080201,
              0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00200010, 0x00201206, 0x00201208]
# A search takes milliseconds: this many for each round of what takes a second.
FINDS_PER_ROUND = 60
ADDED_SECONDS = 0.001
# How much longer a search may take beside a bulk retrieval.
MOST_WAIT_SECONDS = 0.010


@row("search")
def searches(lab):
    archive = lab.orthanc()
    finds = FINDS_PER_ROUND * lab.options.rounds
    association = rawdimse.Association(*archive.address, [(STUDY_ROOT_FIND, [IMPLICIT_LE])])
    with lab.bridge(archive) as bridge:
        http, plugin = Http(bridge.address), Http(("127.0.0.1", archive.rest))
        for study, expected in ((lab.study, 1), ("", lab.options.studies)):
            keys = {0x00080052: "STUDY", **dict.fromkeys(STUDY_KEYS, ""), 0x0020000D: study}
            path = "/studies" + (f"?StudyInstanceUID={study}" if study else "")

            def find():
                matches, final = association.find(keys)
                assert len(matches) == expected and final["status"] == 0, (len(matches), final)

            def qido(of, base):
                body = of.get(base + path, keep=True).body
                # Cheap, and no JSON parser's time: each match has its UID once.
                assert body.count(b'"0020000D"') == expected, body[:300]

            rounds = finds if study else max(finds // 10, 3)
            works = find, lambda: qido(http, bridge.path), lambda: qido(plugin, "/dicom-web")
            alternate(2, *works)
            bridge.begun, bridge.spent = bridge.account.cpu(), 0.0
            direct, bridged, by_plugin = alternate(rounds, *works)
            taken = per_round(bridge, rounds)
            if study:
                added = statistics.median(bridged) - statistics.median(direct)
                yield Result("QIDO-RS of one study, Orthanc", "C-FIND, open association", statistics.median(direct) * 1e3,
                             statistics.median(bridged) * 1e3, "ms", added / ADDED_SECONDS, 1.0, "adds ≤ 1 ms",
                             note="the ratio is of what it adds, to 1 ms",
                             spread=[min(direct), max(direct), min(bridged), max(bridged)], **taken)
            else:
                yield compared(f"QIDO-RS of all {expected} studies, Orthanc", "C-FIND, open association", (direct, bridged),
                               "ms", limit=1.3, **taken)
            yield compared(f"QIDO-RS of {'one study' if study else f'all {expected} studies'}, Orthanc", "Orthanc's plugin",
                           (by_plugin, bridged), "ms", note="for information")
        http.close()
        plugin.close()
    association.release()


@row("turns")
def beside_bulk(lab):
    """The slowest in a hundred searches beside a retrieval that goes on and on, and on an idle archive, over two associations."""
    archive, count = lab.archive("pacs"), FINDS_PER_ROUND * lab.options.rounds
    with lab.bridge(archive, cache='memory = "0"', extra="max_associations = 2") as bridge:
        http = Http(bridge.address)
        path = f"{bridge.path}/studies?StudyInstanceUID={lab.study}"

        def slowest():
            seconds = sorted(http.get(path).total for _ in range(count))
            return seconds[count * 99 // 100]

        slowest()
        idle = slowest()
        url = f"{bridge.url}/studies/{lab.study}"
        bulk = f"while :; do curl -sS --fail -o /dev/null -H 'Accept: {OBJECTS}' {url} || exit 1; done"
        loop = subprocess.Popen(["/bin/bash", "-c", bulk], start_new_session=True)
        try:
            busy = slowest()
            assert loop.poll() is None, "the retrieval beside the searches failed"
        finally:
            os.killpg(loop.pid, signal.SIGKILL)
            loop.wait()
        http.close()
        yield Result("QIDO-RS beside bulk retrievals, two associations, p99", "the same on an idle archive", idle * 1e3, busy * 1e3,
                     "ms", (busy - idle) / MOST_WAIT_SECONDS, 1.0, "adds ≤ 10 ms", note="the ratio is of what it adds, to 10 ms")
