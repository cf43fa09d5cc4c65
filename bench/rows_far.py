"""An archive that is far away: several associations of the bridge beside the one that getscu has."""

from distance import FAR_ADDRESS, Distance, Impossible
from fleet import Archive
from lab import alternate, compared, not_measured, per_round, row, wado
from rows_read import ARCHIVES, NAMES, dimse_get, getscu, quick

ROUND_TRIP_MILLISECONDS = 20


@row("far")
def far(lab):
    try:
        distance = Distance(ROUND_TRIP_MILLISECONDS)
    except Impossible as why:
        yield not_measured(f"WADO-RS study, {ROUND_TRIP_MILLISECONDS} ms away", str(why), "≤ 0.2 × (≥ 5 times as fast)")
        return
    rounds = lab.options.slow_rounds
    try:
        for kind in ARCHIVES:
            with distance.far():
                archive = Archive(kind, [lab.ct], dict([lab.own]), host=FAR_ADDRESS)
            try:
                with distance.near(), lab.bridge(archive, retrieve="get") as bridge:
                    path = f"{bridge.path}/studies/{lab.study}"
                    raw, tuned, bridged = alternate(
                        rounds, lambda: dimse_get(archive, lab.slices), lambda: getscu(archive, lab.study, **quick()),
                        lambda: wado(bridge, path, lab.size), before=bridge.cold)
                    work = f"WADO-RS study, {NAMES[kind]} {ROUND_TRIP_MILLISECONDS} ms away"
                    yield compared(work, "getscu, NODELAY + QUICKACK", (tuned, bridged), limit=0.2,
                                   bound="≤ 0.2 × (≥ 5 times as fast)", note=distance.how, **per_round(bridge, rounds))
                    yield compared(work, "raw C-GET, one association", (raw, bridged), note="for information")
            finally:
                archive.stop()
    finally:
        distance.close()
