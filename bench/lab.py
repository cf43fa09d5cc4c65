"""What all rows of the benchmark share: the servers, the data, the way to measure, and a result."""

import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property

from client import OBJECTS, Failed, Http
from fleet import ROOT, Archive, Bridge, Nginx, data, free_port, objects

sys.path.insert(0, str(ROOT / "tests/peers"))
import rawdimse  # noqa: E402 - stands beside the tests, which need it too

MIB = 1 << 20
QUERY_SCRIPT = ROOT / "bench/make_studies.py"
# Rows by their names on the command line: functions of the lab that yield results.
ROWS = {}


def row(name):
    def register(function):
        ROWS[name] = function
        return function
    return register


@dataclass
class Result:
    """One line of the table. `ratio` is what `limit` bounds from above; both are None where nothing was measured."""

    work: str
    reference: str
    reference_value: float | None
    value: float | None
    unit: str
    ratio: float | None = None
    limit: float | None = None
    bound: str = ""
    cpu: float | None = None  # seconds of the bridge's, for one such piece of work
    memory: float | None = None  # MiB of the bridge's above idle, at the peak
    note: str = ""
    row: str = ""
    spread: list = field(default_factory=list)  # lowest and highest of the reference, of the measured

    @property
    def holds(self):
        return None if self.ratio is None or self.limit is None else self.ratio <= self.limit

    def as_json(self):
        return {**asdict(self), "holds": self.holds}


def compared(work, reference, times, unit="s", limit=None, bound="", **more):
    """The result of `times`, (of the reference, measured): their medians and the ratio of these."""
    direct, bridged = times
    ratio = statistics.median(bridged) / statistics.median(direct)
    scale = 1e3 if unit == "ms" else 1
    return Result(work, reference, statistics.median(direct) * scale, statistics.median(bridged) * scale, unit, ratio,
                  limit, bound or (f"≤ {limit:g} ×" if limit else ""), spread=[min(direct), max(direct), min(bridged), max(bridged)],
                  **more)


def not_measured(work, why, bound=""):
    return Result(work, "", None, None, "s", bound=bound, note=f"not measured: {why}")


def timed(work, *arguments):
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def alternate(rounds, *works, before=None):
    """The seconds of each work, in turns, so that all meet the same machine. `before` runs untimed before each round."""
    times = [[] for _ in works]
    for _ in range(rounds):
        if before:
            before()
        for one, work in zip(times, works):
            one.append(timed(work))
    return times


class Lab:
    """Starts what a row asks for once, and ends everything at last."""

    def __init__(self, options):
        self.options, self.servers, self.caches = options, [], {}
        self.own, self.reference = ("GANTRY", free_port()), ("REFERENCE", free_port())
        # Where DCMTK's movescu listens while it runs.
        self.mover = ("MOVER", free_port())

    def progress(self, text):
        print(f"  … {text}", file=sys.stderr, flush=True)

    @cached_property
    def ct(self):
        return data("ct", "--slices", str(self.options.slices))

    @cached_property
    def slices(self):
        return objects(self.ct)

    @cached_property
    def study(self):
        return self.slices[0]["study"]

    @cached_property
    def series(self):
        return self.slices[0]["series"]

    @cached_property
    def size(self):
        """Bytes of the study's files."""
        return sum(file.stat().st_size for file in self.ct.glob("*.dcm"))

    @cached_property
    def pixels(self):
        """Bytes of one slice's pixels: they stand at the end of its file."""
        return 512 * 512 * 2

    @cached_property
    def queries(self):
        """The studies that are searched besides the CT."""
        return data("studies", str(self.options.studies - 1), script=QUERY_SCRIPT)

    def archive(self, kind, folders=None, **more):
        """The archive of that kind with the CT and the studies to search, or with `folders`; started once for each."""
        key = (kind, tuple(folders) if folders is not None else None, *more.items())
        if key not in self.caches:
            holds = [self.ct, self.queries] if folders is None else folders
            self.progress(f"starting {kind}")
            self.caches[key] = Archive(kind, holds, dict([self.own, self.reference, self.mover]), self.options.gantry, **more)
            self.servers.append(self.caches[key])
        return self.caches[key]

    def orthanc(self):
        """Orthanc with its DICOMweb plugin, which is what it is measured against."""
        return self.archive("orthanc", plugin=True)

    @cached_property
    def receiver(self):
        """A Storage SCP without delays: its AE title, and the sizes of what it has got."""
        title, port = self.reference
        sizes = []
        rawdimse.StorageSCP(port, lambda _request, _syntax, size: sizes.append(size), keep=False)
        return title, sizes

    @contextmanager
    def bridge(self, archive, own=None, **more):
        bridge = Bridge(self.options.gantry, archive, own or self.own, **more)
        try:
            yield bridge
        except BaseException:
            print(bridge.log(), file=sys.stderr)
            raise
        finally:
            bridge.stop()

    @contextmanager
    def nginx(self, root, **more):
        server = Nginx(root, **more)
        try:
            yield server
        finally:
            server.stop()

    def stop(self):
        for server in reversed(self.servers):
            server.stop()
        self.servers.clear()


def wado(server, path, at_least):
    """Retrieves objects over HTTP on a new connection, and throws them away."""
    http = Http(server.address)
    size = http.get(path, OBJECTS).size
    http.close()
    if size < at_least:
        raise Failed(f"GET {path} brought {size} bytes, of at least {at_least}")


def per_round(bridge, rounds):
    """What the bridge took, for a result: the CPU seconds of a round, and the peak of memory above idle."""
    bridge.close_account()
    bridge.begun = bridge.account.cpu()
    return {"cpu": bridge.spent / rounds, "memory": bridge.peak / MIB}
