"""Memory and CPU: one object of 2 GB, a hundred clients, a hundred clients that stop reading, and a GB of it all."""

import os
import selectors
import socket
import subprocess
import time

from client import OBJECTS, Answer, Failed, request
from fleet import data, objects
from lab import MIB, Result, row, wado

BESIDES_CACHE = 64
DEFAULT_CACHE = 512
CPU_PER_GB = 0.4
# A client that stops has read this much.
READ_BEFORE_STOP = 64 << 10
# Longer than `http.write_timeout`, so that those who wait their turn behind the stopped ones come to theirs.
STOPPED_SECONDS = 40
STOPPED_SECONDS_QUICK = 5
# The load of many clients is thrown away in the kernel, as it is not the clients that are measured.
DISCARD = 1 << 20
# All clients together; what is left then is a failure.
LOAD_SECONDS = 600
CACHES = (("cache off", 'memory = "0"', 0), ("default cache", "", DEFAULT_CACHE))


class Sink(Answer):
    """Reads the head, then takes no look at the body but at its very end."""

    def __init__(self, sock):
        super().__init__(False)
        self.sock = sock

    def read(self, buffer):
        """Reads what there is; True when the answer is over."""
        count = self.sock.recv_into(buffer)
        if count == 0:
            raise Failed(f"a connection broke off after {self.size} bytes: {self.head[-300:]}")
        return self.feed(buffer[:count])


def clients(lab, bridge, path, stop):
    """All clients at once. With `stop` they stop reading early and stay; else each reads everything."""
    sinks, buffer = [], memoryview(bytearray(DISCARD))
    deadline = time.monotonic() + ((STOPPED_SECONDS_QUICK if lab.options.quick else STOPPED_SECONDS) if stop else LOAD_SECONDS)
    with selectors.DefaultSelector() as selector:
        for _ in range(lab.options.clients):
            sock = socket.create_connection(bridge.address)
            sock.sendall(request(path, OBJECTS))
            sink = Sink(sock)
            sinks.append(sink)
            selector.register(sock, selectors.EVENT_READ, sink)
        done = 0
        while done < len(sinks) and time.monotonic() < deadline:
            for key, _ in selector.select(1):
                sink = key.data
                over = sink.read(buffer[:READ_BEFORE_STOP] if stop else buffer)
                if over or (stop and sink.size > READ_BEFORE_STOP):
                    selector.unregister(key.fileobj)
                    done += 1
    if stop:
        # They are stopped for as long as this: long enough for the bridge to fill what it fills.
        time.sleep(max(0.0, deadline - time.monotonic()))
    for sink in sinks:
        sink.sock.close()
    if not stop:
        short = [sink for sink in sinks if sink.status != 200 or sink.size < lab.size]
        if short:
            raise Failed(f"{len(short)} of {len(sinks)} clients got less, such as {short[0].status} {short[0].head[-300:]} "
                         f"{short[0].size} bytes")
    return sinks


def above_idle(work, bridge, cache, note=""):
    peak, sockets = bridge.account.peak() - bridge.idle, bridge.account.sockets()
    if sockets is not None:
        own = bridge.account.status("VmHWM") / MIB
        note = ", ".join([f"TCP buffers {sockets / MIB:.0f} MiB, resident {own:.0f} MiB in all", *([note] if note else [])])
    allowed = cache + BESIDES_CACHE
    return Result(work, f"64 MiB + cache {cache} MiB", allowed, peak / MIB, "MiB", peak / MIB / allowed, 1.0, f"≤ {allowed} MiB", note=note)


@row("memory")
def memory(lab):
    big = data("big", "--bytes", str(lab.options.big))
    large, ct = lab.archive("pacs", [big]), lab.archive("pacs")
    count, size = lab.options.clients, (big / "big.dcm").stat().st_size
    for name, cache, budget in CACHES:
        with lab.bridge(large, cache=cache) as bridge:
            wado(bridge, f"{bridge.path}/studies/{objects(big)[0]['study']}", size)
            yield above_idle(f"memory, object of {size / 1e9:.1f} GB, {name}", bridge, budget)
        for what, stop in ((f"{count} clients", False), (f"{count} clients that stop reading", True)):
            work = f"memory, {what}, {name}"
            with lab.bridge(ct, cache=cache) as bridge:
                path, note = f"{bridge.path}/studies/{lab.study}", ""
                start = time.perf_counter()
                try:
                    sinks = clients(lab, bridge, path, stop)
                    began = sum(sink.status == 200 for sink in sinks)
                    note = f"{began} had begun" if stop else f"{count * lab.size / 1e9 / (time.perf_counter() - start):.2f} GB/s"
                except (Failed, OSError) as error:
                    note = f"and a client failed: {error}"
                yield above_idle(work, bridge, budget, note)


@row("cpu")
def cpu(lab):
    """CPU seconds of the bridge for each GB, from the built-in archive to one client that reads as fast as it can."""
    archive, rounds = lab.archive("pacs"), lab.options.rounds
    gigabytes = rounds * lab.size / 1e9
    for name, cache, _ in CACHES:
        for version, get in (("HTTP/1.1", one), ("HTTP/2 without TLS", two)):
            # With a cache it comes from there but for the first time, which is not counted.
            work = f"CPU for a GB, {version}, {name}"
            with lab.bridge(archive, cache=cache, retrieve="get") as bridge:
                get(lab, bridge)
                begun, start = bridge.account.cpu(), time.perf_counter()
                for _ in range(rounds):
                    get(lab, bridge)
                spent = (bridge.account.cpu() - begun) / gigabytes
                yield Result(work, "", None, spent, "s", spent / CPU_PER_GB if get is one else None, 1.0 if get is one else None,
                             "≤ 0.4 s" if get is one else "", note=f"{gigabytes / (time.perf_counter() - start):.2f} GB/s")


def one(lab, bridge):
    wado(bridge, f"{bridge.path}/studies/{lab.study}", lab.size)


def two(lab, bridge):
    command = ["/usr/bin/curl", "-sS", "--fail", "--http2-prior-knowledge", "-o", os.devnull, "-H", f"Accept: {OBJECTS}",
               "-w", "%{http_version} %{size_download}", f"{bridge.url}/studies/{lab.study}"]
    version, size = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    if version != "2" or int(size) < lab.size:
        raise Failed(f"curl got {size} bytes by HTTP/{version}")
