"""What a viewer does: it searches the series, reads the metadata, and gets every frame, six at a time."""

import shutil
import statistics
import time

from client import FRAMES, JSON, Failed, Http, Pool, instances_of
from fleet import scratch
from lab import Result, alternate, compared, per_round, row, wado

AT_ONCE = 6
FIRST_FRAME_SECONDS = 0.1
WARM_METADATA_SECONDS = 0.15


class Viewer:
    """A viewer on one series. It keeps its connections for one visit."""

    def __init__(self, lab, address, base, instances):
        series = f"{base}/studies/{lab.study}/series"
        self.address, self.pixels = address, lab.pixels
        self.search = f"{series}?SeriesInstanceUID={lab.series}"
        self.metadata = f"{series}/{lab.series}/metadata"
        self.frames = [f"{series}/{lab.series}/instances/{one}/frames/1" for one in instances]
        self.first, self.rest = [], []

    def visit(self):
        pool, http = Pool(self.address, AT_ONCE), Http(self.address)
        http.get(self.search)
        http.get(self.metadata)
        times = pool.fetch(self.frames, FRAMES, self.pixels)
        self.first.append(times[0])
        self.rest.append(statistics.median(times))
        http.close()
        pool.close()

    def check(self, files):
        """Every instance is in the metadata, and the frames are the pixels."""
        http = Http(self.address)
        found = instances_of(http.get(self.metadata, JSON, keep=True).body)
        assert sorted(found) == sorted(path.split("/")[-3] for path in self.frames), (len(found), len(self.frames))
        for path, file in list(zip(self.frames, files))[:: max(1, len(files) // 7)]:
            assert file.read_bytes()[-self.pixels:] in http.get(path, FRAMES, keep=True).body, path
        http.close()


def as_files(lab, viewer, root):
    """The answers that `viewer` gets, as files for nginx, and a viewer of these."""
    http = Http(viewer.address)
    (root / "search").write_bytes(http.get(viewer.search, keep=True).body)
    (root / "metadata").write_bytes(http.get(viewer.metadata, keep=True).body)
    for number, path in enumerate(viewer.frames):
        (root / f"frame{number}").write_bytes(http.get(path, FRAMES, keep=True).body)
    http.close()
    other = Viewer(lab, None, "", [])
    other.search, other.metadata = "/search", "/metadata"
    other.frames = [f"/frame{number}" for number in range(len(viewer.frames))]
    return other


@row("viewer")
def viewer(lab):
    archive, rounds, root = lab.orthanc(), lab.options.rounds, scratch("www")
    instances = [entry["instance"] for entry in lab.slices]
    files = [lab.ct / entry["file"] for entry in lab.slices]
    pattern = f"viewer pattern, {len(instances)} frames, 6 at a time"
    try:
        root.chmod(0o755)
        with lab.bridge(archive) as bridge, lab.nginx(root) as nginx:
            plugin = Viewer(lab, ("127.0.0.1", archive.rest), "/dicom-web", instances)
            gantry = Viewer(lab, bridge.address, bridge.path, instances)
            for one in (plugin, gantry):
                one.check(files)
            static = as_files(lab, plugin, root)
            static.address = nginx.address
            # The plugin has been asked for everything once by now, as a server that has been up for a while.
            plugin_times, cold = alternate(rounds, plugin.visit, gantry.visit, before=bridge.cold)
            yield compared(f"{pattern}, cold", "Orthanc's plugin", (plugin_times, cold), limit=1.0, **per_round(bridge, rounds))
            yield first_frame(gantry.first, plugin.first, "first frame of that pattern, cold")
            bridge.spent = 0.0
            plugin_times, nginx_times, warm = alternate(rounds, plugin.visit, static.visit, gantry.visit)
            yield compared(f"{pattern}, warm", "Orthanc's plugin", (plugin_times, warm), limit=1.0, **per_round(bridge, rounds))
            yield compared(f"{pattern}, warm", "nginx, files", (nginx_times, warm), limit=2.0, bound="≤ 2 × (rate ≥ 0.5 ×)")
            yield first_frame(*alone(lab, bridge, plugin, gantry), "one frame and nothing before it, cold")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def first_frame(times, reference, work):
    value = statistics.median(times)
    return Result(work, "Orthanc's plugin", statistics.median(reference) * 1e3, value * 1e3, "ms", value / FIRST_FRAME_SECONDS, 1.0,
                  "≤ 100 ms", note="the ratio is to 100 ms", spread=[min(reference), max(reference), min(times), max(times)])


def alone(lab, bridge, plugin, gantry):
    """A frame in the middle of the series by the bridge, and by the plugin."""
    times = ([], [])
    for _ in range(lab.options.rounds):
        bridge.cold()
        for one, viewer_ in zip(times, (gantry, plugin)):
            http = Http(viewer_.address)
            one.append(http.get(viewer_.frames[len(viewer_.frames) // 2], FRAMES).total)
            http.close()
    return times


@row("metadata")
def metadata(lab):
    """Cold beside the retrieval of the same study, then again."""
    archive, rounds, warm = lab.orthanc(), lab.options.rounds, []
    with lab.bridge(archive, retrieve="get") as bridge:
        study = f"{bridge.path}/studies/{lab.study}"
        cold, whole = [], []
        for _ in range(rounds):
            bridge.cold()
            start = time.perf_counter()
            wado(bridge, study, lab.size)
            whole.append(time.perf_counter() - start)
            bridge.cold()
            http = Http(bridge.address)
            first, again = (http.get(f"{study}/metadata", keep=True) for _ in range(2))
            http.close()
            found = len(instances_of(again.body))
            if found != len(lab.slices):
                raise Failed(f"the metadata are of {found} instances")
            cold.append(first.total)
            warm.append(again.total)
        yield compared(f"/metadata of {len(lab.slices)} instances, cold", "WADO-RS of the study, cold", (whole, cold),
                       limit=1.3, **per_round(bridge, rounds))
        plugin = []
        http = Http(("127.0.0.1", archive.rest))
        for _ in range(rounds):
            plugin.append(http.get(f"/dicom-web/studies/{lab.study}/metadata").total)
        http.close()
        value = statistics.median(warm)
        yield Result("the same, warm", "Orthanc's plugin", statistics.median(plugin) * 1e3, value * 1e3, "ms",
                     value / WARM_METADATA_SECONDS, 1.0, "≤ 150 ms", note="the ratio is to 150 ms",
                     spread=[min(plugin), max(plugin), min(warm), max(warm)])
