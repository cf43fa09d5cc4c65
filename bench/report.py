#!/usr/bin/env python3
"""Writes what bench.py measured into docs/benchmarks.md, between its marks, and draws docs/benchmarks.svg.

  report.py [bench/results.json]
"""

import json
import math
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
# The plot: one line a result, a logarithmic axis of ratio to bound.
LINE, LEFT, WIDTH, RIGHT, TOP = 24, 560, 420, 60, 62
DECADES = (-3, 1)
HOLDS, FAILS, TEXT, FAINT = "#2a7f62", "#c4452d", "#333333", "#bbbbbb"


def number(value, unit):
    if value is None:
        return "–"
    return f"{value:.0f} {unit}" if unit == "MiB" or value >= 1000 else f"{value:.1f} {unit}" if unit == "ms" else f"{value:.3f} {unit}"


def ratio_of(result):
    """What is compared in words: a ratio, unless the bound is one of a time or an amount."""
    if result["value"] is None:
        return "not measured"
    if not result["reference_value"] or result["unit"] == "MiB":
        return number(result["value"], result["unit"])
    return f"{result['value'] / result['reference_value']:.2f} ×"


def table(found):
    out = ["| work | beside | beside : Gantry | | bound | | CPU | memory |", "|---|---|---|---|---|---|---|---|"]
    for result in found["results"]:
        holds = {True: "holds", False: "**fails**", None: ""}[result["holds"]]
        values = f"{number(result['reference_value'], result['unit'])} : {number(result['value'], result['unit'])}"
        if not result["reference"]:
            values = ""
        cpu = "" if result["cpu"] is None else f"{result['cpu']:.2f} s" if result["cpu"] >= 0.01 else f"{result['cpu'] * 1e3:.1f} ms"
        memory = "" if result["memory"] is None else f"{result['memory']:.0f} MiB"
        note = result["note"] if result["value"] is None else ""
        out.append(f"| {result['work']} | {result['reference'] or note} | {values} | {ratio_of(result)} | {result['bound']} | {holds} "
                   f"| {cpu} | {memory} |")
    return "\n".join(out)


def text(found):
    at, of = found["machine"], found["versions"]
    return (f"{found['date']}, commit {of['commit']}: {at['cores']} cores ({at['cpu']}), Linux {at['kernel']}; Orthanc {of['orthanc']}, "
            f"DCMTK {of['dcmtk']}, nginx {of['nginx']}, all as Debian 12 ships them; {found['slices']} CT slices of 512 × 512, median of "
            f"{found['rounds']} rounds ({found['slow_rounds']} of what takes half a minute each); load average {at['load']:.1f} when it began. Memory is above idle, by {at['memory']}.\n\n{table(found)}\n\n"
            "![Each result as a share of its bound](benchmarks.svg)")


def plot(found):
    """Bars of the measured ratio over its bound: what ends left of the line holds."""
    results = [result for result in found["results"] if result["limit"] and result["ratio"] is not None]
    low, high = DECADES
    height = TOP + LINE * len(results) + 20

    def x(share):
        return LEFT + WIDTH * (min(max(math.log10(share), low), high) - low) / (high - low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="100%" height="100%" fill="#ffffff"/><text x="{LEFT}" y="22" font-size="15" fill="{TEXT}">Each result as a share of its '
           f'bound: left of the line is within</text>']
    for decade in range(low, high + 1):
        at = x(10.0**decade)
        strong = decade == 0
        label = f"{10.0**decade:g}"
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{height - 12}" stroke="{TEXT if strong else FAINT}" '
                   f'stroke-width="{1.5 if strong else 0.7}"/><text x="{at:.1f}" y="{TOP - 14}" text-anchor="middle" fill="{TEXT}">{label}</text>')
    for place, result in enumerate(results):
        share, y = result["ratio"] / result["limit"], TOP + LINE * place
        beside = f", beside {result['reference']}" if result["reference"] and result["unit"] != "MiB" else ""
        label = escape(f"{result['work']}{beside}")
        out.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end" fill="{TEXT}">{label}</text>'
                   f'<rect x="{LEFT}" y="{y + 3}" width="{max(x(share) - LEFT, 1):.1f}" height="{LINE - 8}" '
                   f'fill="{HOLDS if result["holds"] else FAILS}"/>'
                   f'<text x="{x(share) - 4 if share > 0.3 else x(share) + 4:.1f}" y="{y + 15}" '
                   f'text-anchor="{"end" if share > 0.3 else "start"}" fill="{"#ffffff" if share > 0.3 else TEXT}">{share:.2f}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def write(found):
    page = ROOT / "docs/benchmarks.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n{text(found)}\n{END}{after}")
    (ROOT / "docs/benchmarks.svg").write_text(plot(found))


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "bench/results.json").read_text()))
