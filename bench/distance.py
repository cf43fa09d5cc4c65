"""Two network namespaces with a round trip between them: by netem on a veth pair, or by a delay line in user space."""

import ctypes
import os
import subprocess
from contextlib import contextmanager

from fleet import ROOT

NEAR_ADDRESS, FAR_ADDRESS = "10.77.0.1", "10.77.0.2"
CLONE_NEWNET = 0x40000000
LINE = ROOT / ".peers/delayline"
SOURCE = ROOT / "bench/delayline.c"


class Impossible(Exception):
    """This machine cannot have it; the text says why."""


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise Impossible(f"ip {' '.join(words)}: {done.stderr.strip()}")


def enter(file):
    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
        raise Impossible(f"setns: {os.strerror(ctypes.get_errno())}")


class Distance:
    """While it lives, what is started or connected `near` is `milliseconds` away, there and back, from what is `far`."""

    def __init__(self, milliseconds):
        self.namespaces = [f"gantry-bench-{os.getpid()}-{end}" for end in ("near", "far")]
        self.process, self.made = None, []
        # Debian keeps ip and tc from the PATH of those who are not root.
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        if os.geteuid() != 0:
            raise Impossible("not root")
        try:
            for name in self.namespaces:
                ip("netns", "add", name)
                self.made.append(name)
                ip("-n", name, "link", "set", "lo", "up")
            self.how = self.by_netem(milliseconds) or self.by_delay_line(milliseconds)
            for name, address in zip(self.namespaces, (NEAR_ADDRESS, FAR_ADDRESS)):
                ip("-n", name, "address", "add", f"{address}/24", "dev", "line")
                ip("-n", name, "link", "set", "line", "up", "txqueuelen", "10000")
        except BaseException:
            self.close()
            raise

    def by_netem(self, milliseconds):
        near, far = self.namespaces
        ip("-n", near, "link", "add", "line", "type", "veth", "peer", "name", "line", "netns", far)
        for name in self.namespaces:
            words = ["tc", "-n", name, "qdisc", "add", "dev", "line", "root", "netem", "delay", f"{milliseconds / 2}ms",
                     "limit", "100000"]
            if subprocess.run(words, capture_output=True).returncode:
                ip("-n", near, "link", "delete", "line")
                return None
        return "netem"

    def by_delay_line(self, milliseconds):
        if not LINE.exists() or LINE.stat().st_mtime < SOURCE.stat().st_mtime:
            subprocess.run(["/usr/bin/cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", LINE, SOURCE], check=True)
        self.process = subprocess.Popen([LINE, *self.namespaces, str(int(milliseconds * 500))], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "up\n":
            raise Impossible(f"no netem, and no delay line: {self.process.stderr.read().strip()}")
        return "a delay line in user space, as this kernel has no netem"

    @contextmanager
    def inside(self, name):
        """This thread is in that namespace: its sockets, and the processes it starts."""
        with open("/proc/thread-self/ns/net") as home, open(f"/var/run/netns/{name}") as there:
            enter(there)
            try:
                yield
            finally:
                enter(home)

    def near(self):
        return self.inside(self.namespaces[0])

    def far(self):
        return self.inside(self.namespaces[1])

    def close(self):
        if self.process:
            self.process.kill()
            self.process.communicate()
        for name in self.made:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
