#!/usr/bin/env python3
"""The benchmark that bench/run starts: the bridge beside its references, in one run, in turns; medians and ratios."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import account
import report
from fleet import ROOT
from lab import ROWS, Lab, not_measured

# The order of the table.
import rows_read  # noqa: F401 - registers its rows
import rows_tls  # noqa: F401
import rows_viewer  # noqa: F401
import rows_search  # noqa: F401
import rows_store  # noqa: F401
import rows_dimse  # noqa: F401
import rows_far  # noqa: F401
import rows_load  # noqa: F401


def figure(value, unit):
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if unit in ("ms", "MiB") else f"{value:.3f}"


def line(result):
    holds = {True: "holds", False: "FAILS", None: ""}[result.holds]
    ratio = "–" if result.ratio is None else f"{result.ratio:.2f} ×"
    taken = " ".join([f"{result.cpu:.2f} s CPU" if result.cpu is not None else "",
                      f"{result.memory:.0f} MiB" if result.memory is not None else "", result.note])
    return (f"{result.work:<52} {result.reference:<28} {figure(result.reference_value, result.unit):>8} : "
            f"{figure(result.value, result.unit):>8} {result.unit:<3} {ratio:>8}  {result.bound:<24} {holds:<6} {taken}").rstrip()


def machine():
    cpu = next((text.split(":")[1].strip() for text in Path("/proc/cpuinfo").read_text().splitlines()
                if text.startswith("model name")), platform.machine())
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(), "memory": account.HOW,
            # What else ran here before we began: the less, the more the figures are worth.
            "load": os.getloadavg()[0]}


def versions():
    orthanc = subprocess.run(["/usr/sbin/Orthanc", "--version"], capture_output=True, text=True).stdout.split()
    dcmtk = subprocess.run(["/usr/bin/dcmqrscp", "--version"], capture_output=True, text=True).stdout.split()
    nginx = subprocess.run(["/usr/sbin/nginx", "-v"], capture_output=True, text=True).stderr.split("/")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {"orthanc": orthanc[1] if len(orthanc) > 1 else "", "dcmtk": next((word[1:] for word in dcmtk if word.startswith("v3")), ""),
            "nginx": nginx[-1].strip(), "commit": commit}


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gantry", type=Path, default=ROOT / "target/release/gantry")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which, of {','.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, help="rounds of what takes half a minute each")
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--studies", type=int, default=202, help="studies that a search finds")
    parser.add_argument("--big", type=int, default=2_000_000_000, help="bytes of the one large object")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="small data, two rounds: does the script work?")
    parser.add_argument("--json", type=Path, default=ROOT / "bench/results.json")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md's table and docs/benchmarks.svg too")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.slices, options.studies, options.big, options.clients = 2, 40, 22, 100_000_000, 10
    options.slow_rounds = options.slow_rounds or options.rounds
    options.rows = options.rows.split(",")
    if options.quick and options.docs:
        parser.error("--quick measures nothing to write down")
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"no such rows: {', '.join(unknown)}")
    return options


def main():
    options = parse()
    # A run that is ended ends its servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    found = {"machine": machine(), "versions": versions(), "date": time.strftime("%Y-%m-%d"),
             "slices": options.slices, "rounds": options.rounds, "slow_rounds": options.slow_rounds, "results": []}
    print(f"{found['machine']['cores']} cores, {found['machine']['cpu']}, load {found['machine']['load']:.1f}; {found['machine']['memory']}", flush=True)
    if options.quick:
        print("--quick: this shows that the script works; whether a bound holds it cannot show", flush=True)
    lab = Lab(options)
    try:
        for name in options.rows:
            try:
                for result in ROWS[name](lab):
                    result.row = name
                    print(line(result), flush=True)
                    found["results"].append(result.as_json())
                    options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
            except Exception as error:  # noqa: BLE001 - one row that fails does not take the others with it
                result = not_measured(name, f"{type(error).__name__}: {error}")
                result.row = name
                print(line(result), flush=True)
                found["results"].append(result.as_json())
    finally:
        lab.stop()
    if options.docs:
        report.write(found)


if __name__ == "__main__":
    main()
