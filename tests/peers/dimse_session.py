#!/usr/bin/env python3
"""What a modality or workstation made with pynetdicom does with a server, as JSON to be compared.

  dimse_session.py mpps HOST PORT CALLED CALLING SERIAL        N-CREATE, N-SET twice, N-GET, and what must fail
  dimse_session.py commit HOST PORT CALLED CALLING SERIAL COUNT [--listen PORT] [--wait SECONDS]
                                            asks for commitment and waits for its report, on the same association, or on
                                            its own port
  dimse_session.py query HOST PORT CALLED CALLING STUDY        echo, find, find and cancel, get

SERIAL makes the UIDs of this run its own."""

import argparse
import json
import signal
import sys
import threading
import time

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

import reactor  # noqa: F401

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
ROOT = "1.2.826.0.1.3680043.8.498.9"


def plain(data_set):
    return None if data_set is None else data_set.to_json_dict()


def associate(options, contexts, roles=(), handlers=(), storage=None):
    ae = AE(options.calling)
    for context in contexts:
        ae.add_requested_context(context, SYNTAXES)
    ext = [build_role(role, scp_role=True) for role in roles]
    association = ae.associate(options.host, options.port, ae_title=options.called, ext_neg=ext, evt_handlers=list(handlers))
    if not association.is_established:
        sys.exit("no association")
    return ae, association


def mpps(options):
    _, association = associate(options, [ModalityPerformedProcedureStep, ModalityPerformedProcedureStepRetrieve])
    uid, said = f"{ROOT}.{options.serial}", []
    step = Dataset()
    step.SpecificCharacterSet = "ISO_IR 100"
    step.PatientName = "Müller^Jürgen"
    step.PatientID = "P1"
    step.PerformedProcedureStepID = "PPS1"
    step.PerformedStationAETitle = options.calling
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.Modality = "CT"
    change = Dataset()
    change.PerformedProcedureStepStatus = "COMPLETED"
    change.PerformedProcedureStepEndDate = "20261122"

    def note(what, answer):
        status, data_set = answer
        said.append([what, status.get("Status"), plain(data_set)])

    kind = ModalityPerformedProcedureStep
    note("create", association.send_n_create(step, kind, uid))
    note("create again", association.send_n_create(step, kind, uid))
    note("set", association.send_n_set(change, kind, uid))
    note("set again", association.send_n_set(change, kind, uid))
    note("set another", association.send_n_set(change, kind, f"{uid}.1"))
    wanted = [0x00400252, 0x00100020]
    note("get", association.send_n_get(wanted, ModalityPerformedProcedureStepRetrieve, uid))
    note("get all", association.send_n_get([], ModalityPerformedProcedureStepRetrieve, uid))
    association.release()
    return said


def commit(options):
    reported, came = [], threading.Event()

    def take(event):
        reported.append([event.request.EventTypeID, plain(event.event_information)])
        came.set()
        return 0x0000, None

    handlers = [(evt.EVT_N_EVENT_REPORT, take)]
    server = None
    if options.listen:
        listener = AE(options.calling)
        listener.add_supported_context(StorageCommitmentPushModel, SYNTAXES, scu_role=True, scp_role=True)
        listener.add_supported_context(Verification)
        server = listener.start_server(("127.0.0.1", options.listen), block=False, evt_handlers=handlers)
    _, association = associate(options, [StorageCommitmentPushModel], handlers=handlers)
    action = Dataset()
    action.TransactionUID = f"{ROOT}.{options.serial}"
    action.ReferencedSOPSequence = []
    for number in range(options.count):
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = CTImageStorage, f"{ROOT}.{options.serial}.{number}"
        action.ReferencedSOPSequence.append(one)
    status, _ = association.send_n_action(action, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
    print(json.dumps({"asked": status.get("Status")}), flush=True)
    if options.listen:
        association.release()
    arrived = came.wait(options.wait)
    # pynetdicom's release can wait for ever for a reactor that has just served a request.
    time.sleep(0.5)
    if not options.listen and association.is_established:
        association.release()
    if server:
        server.shutdown()
    if not arrived:
        sys.exit("no report came")
    return reported


def query(options):
    got = []

    def keep(event):
        got.append([event.dataset.SOPInstanceUID, event.dataset.file_meta.TransferSyntaxUID if hasattr(event.dataset, "file_meta")
                    else "", len(event.dataset.get("PixelData", b""))])
        return 0x0000

    find, get = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet
    _, association = associate(options, [Verification, find, get, CTImageStorage], roles=[CTImageStorage],
                               handlers=[(evt.EVT_C_STORE, keep)])
    said = {"echo": association.send_c_echo().get("Status")}
    keys = Dataset()
    keys.QueryRetrieveLevel = "SERIES"
    keys.StudyInstanceUID = options.serial
    keys.SeriesInstanceUID = ""
    keys.Modality = ""
    said["find"] = sorted(([status.get("Status"), plain(match) if match is None else {**plain(match), "00080054": 0}]
                           for status, match in association.send_c_find(keys, find)), key=str)
    keys.QueryRetrieveLevel = "STUDY"
    del keys.SeriesInstanceUID, keys.Modality
    responses = [status for status, _ in association.send_c_get(keys, get)]
    last = responses[-1]
    said["get"] = [last.get("Status"), [last.get(f"NumberOf{kind}Suboperations") for kind in ("Completed", "Failed", "Warning")]]
    said["objects"] = sorted(got)
    association.release()
    return said


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=("mpps", "commit", "query"))
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("called")
    parser.add_argument("calling")
    parser.add_argument("serial")
    parser.add_argument("count", type=int, nargs="?", default=3)
    parser.add_argument("--listen", type=int)
    parser.add_argument("--wait", type=float, default=20)
    options = parser.parse_args()
    # Whatever hangs: longer than anything takes that works.
    signal.alarm(90)
    print(json.dumps(globals()[options.work](options), sort_keys=True))


if __name__ == "__main__":
    main()
