#!/usr/bin/env python3
"""Where the time of a retrieved study goes: CPU seconds of the archive, of the bridge and of the client beside the wall's, directly
and through the bridge, in turns; medians. Build first (bench/run does). The client stands for two: directly it reads DIMSE, through
the bridge HTTP.

  where.py [rounds]
"""

import os
import statistics
import sys
import time
from argparse import Namespace

from fleet import ROOT
from lab import Lab, wado
from rows_read import ARCHIVES, NAMES, STATES, Bridge, dimse_get

SETTLE_SECONDS = 0.05


def spent(process):
    """CPU seconds of a process and of those of its children that have ended."""
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def account(work, archive, bridge):
    """Seconds of the wall, the archive, the bridge and this process, for one call of `work`."""
    before = spent(archive.process), spent(bridge.process), time.process_time(), time.perf_counter()
    work()
    wall, client = time.perf_counter() - before[3], time.process_time() - before[2]
    # What a process that has just ended took is known when its parent has seen it.
    time.sleep(SETTLE_SECONDS)
    return wall, spent(archive.process) - before[0], spent(bridge.process) - before[1], client


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    lab = Lab(Namespace(gantry=ROOT / "target/release/gantry", slices=500, studies=202))
    try:
        for kind in ARCHIVES:
            archive = lab.archive(kind)
            for state, cache, before in STATES:
                with lab.bridge(archive, retrieve="get", cache=cache) as bridge:
                    path = f"{bridge.path}/studies/{lab.study}"
                    works = {"raw C-GET": lambda: dimse_get(archive, lab.slices), "WADO-RS": lambda: wado(bridge, path, lab.size)}
                    taken = {name: [] for name in works}
                    if before is Bridge.purge:
                        wado(bridge, path, lab.size)
                    for _ in range(rounds):
                        before(bridge)
                        for name, work in works.items():
                            taken[name].append(account(work, archive, bridge))
                for name, rows in taken.items():
                    wall, of_archive, of_bridge, client = (statistics.median(column) for column in zip(*rows))
                    print(f"{NAMES[kind]:<9}{state or ', cold':<15}{name:<10} wall {wall:.3f} s, CPU: archive {of_archive:.2f} s, "
                          f"bridge {of_bridge:.2f} s, client {client:.2f} s", flush=True)
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
