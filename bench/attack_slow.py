#!/usr/bin/env python3
"""1,000 slow connections of HTTPS and 200 of DIMSE, and how long a normal client waits beside them: rounds with and without, by turns.

    cargo build --release --locked && .peers/venv/bin/python bench/attack_slow.py

Of the HTTPS ones half stop in the TLS handshake, half drip the head of a request; those of DIMSE drip an A-ASSOCIATE-RQ. Ends with 1
when a median with them is more than 1.5 times the one without.
"""

import argparse
import contextlib
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

from attack_dimse import request_bytes
from attack_neighbours import hello_of
from attack_site import Site
from attack_wire import LOOPBACK, Web, ask, head, plain, read_reply
from fleet import ROOT

HTTPS, DIMSE = 1000, 200
LIMIT = 1.5
ADDRESSES = 4
# Each of them says a byte so often.
PERIOD_SECONDS = 2


def hold(site, hello, ready, stop):
    """Opens the slow connections, and lets them drip until it is told to stop."""
    # An attacker has a machine of their own: this one's time is not to be taken from the bridge's.
    os.nice(15)
    socks, dimse = [], request_bytes()[0]
    for number in range(HTTPS + DIMSE):
        source = f"127.0.0.{70 + number % ADDRESSES}"
        if number >= HTTPS:
            sock = plain(site.dimse, source)
            sock.sendall(dimse[:10])
            socks.append((sock, dimse[10:]))
        elif number % 2:
            sock = plain(site.http, source)
            sock.sendall(hello[:20])
            socks.append((sock, hello[20:]))
        else:
            sock = Web(site, source)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
            socks.append((sock, b"a" * 200))
    ready.put(len(socks))
    at = 0
    while not stop.is_set():
        for sock, rest in socks:
            with contextlib.suppress(OSError):
                sock.send(rest[at % len(rest):][:1])
            if stop.is_set():
                break
            time.sleep(PERIOD_SECONDS / len(socks))
        at += 1
    for sock, _ in socks:
        with contextlib.suppress(OSError):
            sock.close()


def timed(count, work):
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return times


def measure(site, count):
    """Seconds of each: a search on a new connection and on a kept one, and C-ECHO on an association of its own."""
    token = site.tokens["viewer"]

    def search():
        assert ask(site, "/dicom-web/studies", token=token, source=LOOPBACK).status == 200

    def echo():
        association = site.associate()
        assert association.echo() == 0
        association.release()

    with Web(site, LOOPBACK) as kept:

        def again():
            kept.sendall(head("/dicom-web/studies", token=token))
            assert read_reply(kept).status == 200

        return {
            "search, new connection": timed(count, search), "search, kept connection": timed(count, again),
            "C-ECHO, own association": timed(count, echo)
        }


def ratio(beside, without):
    return statistics.median(beside) / statistics.median(without)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gantry", type=Path, default=ROOT / "target/release/gantry")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=100)
    options = parser.parse_args()
    site = Site(options.gantry, rude={}, patience="5m", rate="")
    hello, rounds = hello_of(site), []
    try:
        for _ in range(options.rounds):
            without = measure(site, options.requests)
            ready, stop = multiprocessing.Queue(), multiprocessing.Event()
            slow = multiprocessing.Process(target=hold, args=(site, hello, ready, stop))
            slow.start()
            ready.get(timeout=120)
            beside = measure(site, options.requests)
            held = site.descriptors() - site.baseline[0]
            stop.set()
            slow.join()
            site.recovered()
            rounds.append((without, beside))
            print(f"  … {held} connections held: " + ", ".join(f"{what} {ratio(beside[what], without[what]):.2f} ×" for what in without),
                  file=sys.stderr,
                  flush=True)
    finally:
        site.stop()
    worst = 0
    for what in rounds[0][0]:
        # All rounds together: other work on the machine falls on both sides alike.
        without, beside = ([seconds for one in rounds for seconds in one[side][what]] for side in (0, 1))
        worst = max(worst, ratio(beside, without))
        print(f"{what}: {statistics.median(without) * 1e3:.2f} ms without, {statistics.median(beside) * 1e3:.2f} ms beside; "
              f"{ratio(beside, without):.2f} × (medians of {len(without)} in {len(rounds)} rounds; at most {LIMIT} ×)")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
