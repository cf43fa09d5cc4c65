"""What a process takes: CPU seconds and bytes of memory, the kernel's socket buffers included where a cgroup tells them."""

import itertools
import os
from pathlib import Path

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")
numbers = itertools.count()
# A limit is what makes the kernel count the socket buffers of a version 1 group; it is never reached.
NO_LIMIT = str(1 << 40)


def supported():
    """Which kind of account there is here: "cgroup v1", "cgroup v2", or "process" without the kernel's buffers."""
    for kind, hierarchy in (("cgroup v1", V1), ("cgroup v2", V2)):
        if kind == "cgroup v2" and "memory" not in read(V2 / "cgroup.controllers", ""):
            continue
        probe = hierarchy / f"gantry-bench-{os.getpid()}-probe"
        try:
            probe.mkdir()
        except OSError:
            continue
        peak = probe / ("memory.max_usage_in_bytes" if kind == "cgroup v1" else "memory.peak")
        found = peak.exists()
        probe.rmdir()
        if found:
            return kind
    return "process"


def read(path, default=None):
    try:
        return path.read_text()
    except OSError:
        if default is None:
            raise
        return default


KIND = supported()
HOW = {
    "cgroup v1": "cgroup v1: peak of memory plus peak of TCP buffers, which may be more than they were at once",
    "cgroup v2": "cgroup v2: memory.peak, TCP buffers included",
    "process": "no cgroup can be made here: VmHWM alone, without the kernel's socket buffers",
}[KIND]


class Group:
    """The account of one process. Its command goes before the process's own."""

    # Those that are not closed yet.
    open = set()

    def __init__(self):
        self.path, self.pid = None, None
        Group.open.add(self)
        if KIND != "process":
            self.path = (V1 if KIND == "cgroup v1" else V2) / f"gantry-bench-{os.getpid()}-{next(numbers)}"
            self.path.mkdir()
            if KIND == "cgroup v1":
                (self.path / "memory.kmem.tcp.limit_in_bytes").write_text(NO_LIMIT)

    def command(self):
        if self.path is None:
            return ()
        return ("/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.path / "cgroup.procs"))

    def of(self, pid):
        self.pid = pid

    def number(self, name):
        return int(read(self.path / name))

    def memory(self):
        """Bytes now."""
        if KIND == "cgroup v1":
            return self.number("memory.usage_in_bytes") + self.number("memory.kmem.tcp.usage_in_bytes")
        if KIND == "cgroup v2":
            return self.number("memory.current")
        return self.status("VmRSS")

    def peak(self):
        """Most bytes since the process began."""
        if KIND == "cgroup v1":
            return self.number("memory.max_usage_in_bytes") + self.number("memory.kmem.tcp.max_usage_in_bytes")
        if KIND == "cgroup v2":
            return self.number("memory.peak")
        return self.status("VmHWM")

    def sockets(self):
        """Of these the kernel's TCP buffers, where they are told apart; else None."""
        return self.number("memory.kmem.tcp.max_usage_in_bytes") if KIND == "cgroup v1" else None

    def cpu(self):
        """CPU seconds so far, user and system, of threads that have ended too."""
        fields = read(Path(f"/proc/{self.pid}/stat")).rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def status(self, key):
        for line in read(Path(f"/proc/{self.pid}/status")).splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(key)

    def close(self):
        Group.open.discard(self)
        if self.path is not None and self.path.exists():
            self.path.rmdir()
