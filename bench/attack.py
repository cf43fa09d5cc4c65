#!/usr/bin/env python3
"""Runs the threat model of docs/security.md as attacks against a release binary, with a normal client beside each.

    cargo build --release --locked && .peers/venv/bin/python bench/attack.py

Starts the bridge as a careful site sets it up (TLS, tokens, listed clients, limits; time-outs of some seconds, so that this ends today)
before some twenty archives, honest and not. After each attack the site's own users do what they did before, and the process's
descriptors and memory are back, or the attack has succeeded. Ends with 1 when one has.
"""

import argparse
import subprocess
import sys
import time
import traceback
from pathlib import Path

from fleet import ROOT

import attack_rows  # isort: skip
import attack_beyond  # noqa: F401 - registers its rows
import attack_dimse  # noqa: F401
import attack_web  # noqa: F401
import attack_stores  # noqa: F401
import attack_http2  # noqa: F401
import attack_tokens  # noqa: F401
import attack_archives  # noqa: F401
import attack_neighbours  # noqa: F401
import attack_traces  # noqa: F401
from attack_site import Site, Succeeded

GROUPS = [
    "DIMSE peers", "Web clients", "Holders of tokens", "Archives, and what they hold", "Neighbours on the network", "Beyond the list",
    "What is left behind"
]
BEGIN, END = "<!-- attacks: bench/attack.py writes this -->", "<!-- attacks end -->"


def run(site, what, function):
    """(verdict, what was seen, seconds, peak of memory in MiB above the baseline)."""
    site.forget_peak()
    begin, seen, verdict = time.monotonic(), "", "held"
    try:
        seen = function(site)
        site.normal()
    except Succeeded as error:
        verdict, seen = "SUCCEEDED", str(error)
    except Exception as error:  # noqa: BLE001 - the next attack is run all the same
        traceback.print_exc()
        verdict, seen = "NOT RUN", f"{type(error).__name__}: {error}"
    seconds, peak = time.monotonic() - begin, 0
    if site.bridge.process.poll() is not None:
        site.start()
    else:
        peak = max(0, site.memory("VmHWM") - site.baseline[1]) >> 20
        try:
            site.recovered()
        except Succeeded as error:
            verdict, seen = "SUCCEEDED", f"{seen}; {error}"
    print(f"{verdict:9} {what}: {seen} ({seconds:.1f} s, +{peak} MiB at most)", file=sys.stderr, flush=True)
    return verdict, seen, seconds, peak


def table(results):
    lines = ["| Attack | What was seen | Memory at most | Verdict |", "|---|---|---|---|"]
    for group in GROUPS:
        rows = [row for row in results if row[0] == group]
        if rows:
            lines.append(f"| **{group}** | | | |")
            lines += [f"| {what} | {seen} | +{peak} MiB | {verdict} |" for _, what, verdict, seen, _, peak in rows]
    return "\n".join(lines)


def write(path, text):
    """Puts the table in its place in a document."""
    document = path.read_text()
    before, _, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{path} has no place for the table")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gantry", type=Path, default=ROOT / "target/release/gantry")
    parser.add_argument("--only", default="", help="attacks whose words contain this")
    parser.add_argument("--write", type=Path, help="the document whose table is replaced")
    options = parser.parse_args()
    site, results = Site(options.gantry), []
    print(f"ready: {site.baseline[0]} descriptors, {site.baseline[1] >> 20} MiB", file=sys.stderr, flush=True)
    rows = sorted(attack_rows.ROWS, key=lambda row: GROUPS.index(row[0]))
    try:
        for group, what, function in rows:
            if options.only.lower() in f"{group}: {what}".lower():
                results.append((group, what, *run(site, what, function)))
    finally:
        site.stop()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    held = sum(row[2] == "held" for row in results)
    text = (f"`bench/attack.py`, {time.strftime('%Y-%m-%d')}, commit {commit}: {held} of {len(results)} held.\n\n{table(results)}")
    print(text)
    if options.write:
        write(options.write, text)
    return 0 if held == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
