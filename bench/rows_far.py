"""An archive that is far away: several associations of the bridge beside the one that getscu has."""

from contextlib import ExitStack

from distance import FAR_ADDRESS, Distance, Impossible
from fleet import Archive, free_port
from lab import alternate, compared, not_measured, per_round, row, wado
from rows_read import ARCHIVES, NAMES, dimse_get, getscu, quick

ROUND_TRIP_MILLISECONDS = 20
# `max_associations`: the default, by which four round trips at a time are all there is, and twice that.
CAPS = (4, 8)


@row("far")
def far(lab):
    try:
        distance = Distance(ROUND_TRIP_MILLISECONDS)
    except Impossible as why:
        yield not_measured(f"WADO-RS study, {ROUND_TRIP_MILLISECONDS} ms away", str(why), "≤ 0.2 × (≥ 5 times as fast)")
        return
    try:
        for kind in ARCHIVES:
            with distance.far():
                archive = Archive(kind, [lab.ct], dict([lab.own]), host=FAR_ADDRESS)
            try:
                with distance.near():
                    yield from at_caps(lab, archive, NAMES[kind], distance.how)
            finally:
                archive.stop()
    finally:
        distance.close()


def at_caps(lab, archive, name, how):
    """The bridge with its default cap on associations, then with a higher one, beside one association of getscu's."""
    rounds = lab.options.slow_rounds
    with ExitStack() as stack:
        bridges = [stack.enter_context(lab.bridge(archive, own, retrieve="get", extra=f"max_associations = {cap}"))
                   for cap, own in zip(CAPS, (lab.own, ("GANTRY", free_port())))]

        def study(bridge):
            return lambda: wado(bridge, f"{bridge.path}/studies/{lab.study}", lab.size)

        # How far the archive is, and whether its lists are whole, the bridge learns from the first retrieval.
        for bridge in bridges:
            study(bridge)()

        def purge():
            for bridge in bridges:
                bridge.purge()

        raw, stock, tuned, *bridged = alternate(
            rounds, lambda: dimse_get(archive, lab.slices), lambda: getscu(archive, lab.study),
            lambda: getscu(archive, lab.study, **quick()), *(study(bridge) for bridge in bridges), before=purge)
        for cap, bridge, times in zip(CAPS, bridges, bridged):
            work = f"WADO-RS study, {name} {ROUND_TRIP_MILLISECONDS} ms away, cap {cap}"
            yield compared(work, "stock getscu", (stock, times), limit=0.2, bound="≤ 0.2 × (≥ 5 times as fast)", note=how,
                           **per_round(bridge, rounds))
            yield compared(work, "getscu, NODELAY + QUICKACK", (tuned, times), note="for information")
        yield compared(f"WADO-RS study, {name} {ROUND_TRIP_MILLISECONDS} ms away, cap {CAPS[0]}", "raw C-GET, one association",
                       (raw, bridged[0]), note="for information")
