#!/usr/bin/env python3
"""A server for modality performed procedure steps and storage commitment, made with pynetdicom.

  mpps_and_commitment.py PORT TITLE [--report same|new] [--to TITLE=PORT] [--delay SECONDS] [--failed N]

Prints one JSON line for each thing that happens. A commitment's report goes out on the association of the request, or on a
new one to the title and port given; the first N instances of each are told as failed."""

import argparse
import json
import threading
import time

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    StorageCommitmentPushModel,
    Verification,
)

import reactor  # noqa: F401

SUCCESS, DUPLICATE, NO_SUCH_INSTANCE, BAD_VALUE, FAILURE = 0x0000, 0x0111, 0x0112, 0x0106, 0x0110
steps = {}


def tell(**what):
    print(json.dumps(what), flush=True)


def create(event):
    uid, step = event.request.AffectedSOPInstanceUID, event.attribute_list
    tell(event="N-CREATE", calling=event.assoc.requestor.ae_title, uid=uid)
    if uid in steps:
        return DUPLICATE, None
    if step.get("PerformedProcedureStepStatus") != "IN PROGRESS":
        return BAD_VALUE, None
    steps[uid] = step
    return SUCCESS, step


def set_(event):
    uid = event.request.RequestedSOPInstanceUID
    tell(event="N-SET", calling=event.assoc.requestor.ae_title, uid=uid)
    if uid not in steps:
        return NO_SUCH_INSTANCE, None
    if steps[uid].PerformedProcedureStepStatus != "IN PROGRESS":
        return FAILURE, None
    steps[uid].update(event.modification_list)
    return SUCCESS, steps[uid]


def get(event):
    uid = event.request.RequestedSOPInstanceUID
    tell(event="N-GET", calling=event.assoc.requestor.ae_title, uid=uid)
    if uid not in steps:
        return NO_SUCH_INSTANCE, None
    wanted = event.request.AttributeIdentifierList
    answer = Dataset()
    answer.update({tag: element for tag, element in steps[uid].items() if not wanted or tag in wanted})
    return SUCCESS, answer


def report(action, options):
    answer = Dataset()
    answer.TransactionUID = action.TransactionUID
    failed, stored = [], []
    for number, reference in enumerate(action.ReferencedSOPSequence):
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID
        if number < options.failed:
            one.FailureReason = NO_SUCH_INSTANCE
            failed.append(one)
        else:
            stored.append(one)
    if stored:
        answer.ReferencedSOPSequence = stored
    if failed:
        answer.FailedSOPSequence = failed
    return (2 if failed else 1), answer


def send(association, action, options):
    kind, answer = report(action, options)
    status, _ = association.send_n_event_report(answer, kind, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
    tell(event="reported", uid=action.TransactionUID, status=status.get("Status"))


def later(options, association, action):
    time.sleep(options.delay)
    if options.report == "same":
        return send(association, action, options)
    title, port = options.to.split("=")
    ae = AE(options.title)
    ae.add_requested_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    # A bridge may be away for a while.
    for _ in range(100):
        back = ae.associate("127.0.0.1", int(port), ae_title=title,
                            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)])
        if back.is_established:
            send(back, action, options)
            return back.release()
        time.sleep(0.1)
    tell(event="not reported", uid=action.TransactionUID)


def act(event, options):
    action = event.action_information
    tell(event="N-ACTION", calling=event.assoc.requestor.ae_title, uid=action.TransactionUID, count=len(action.ReferencedSOPSequence))
    threading.Thread(target=later, args=(options, event.assoc, action), daemon=True).start()
    return SUCCESS, None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("title")
    parser.add_argument("--report", choices=("same", "new"), default="same")
    parser.add_argument("--to", default="")
    parser.add_argument("--delay", type=float, default=0.1)
    parser.add_argument("--failed", type=int, default=0)
    options = parser.parse_args()
    ae = AE(options.title)
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    for context in (Verification, ModalityPerformedProcedureStep, ModalityPerformedProcedureStepRetrieve, StorageCommitmentPushModel):
        ae.add_supported_context(context, syntaxes)
    handlers = [(evt.EVT_N_CREATE, create), (evt.EVT_N_SET, set_), (evt.EVT_N_GET, get), (evt.EVT_N_ACTION, act, [options])]
    server = ae.start_server(("127.0.0.1", options.port), block=False, evt_handlers=handlers)
    try:
        threading.Event().wait()
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
