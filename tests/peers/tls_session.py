#!/usr/bin/env python3
"""What a workstation made with pynetdicom does over TLS: echo, find, get.

  tls_session.py PORT CA STUDY [CERTIFICATE KEY]"""

import ssl
import sys

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

import reactor  # noqa: F401

port, ca, study, *own = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if own:
    context.load_cert_chain(*own)

ae = AE("CT1")
for sop_class in [
    Verification,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    CTImageStorage,
]:
    ae.add_requested_context(sop_class)
came = []


def store(event):
    came.append(event.request.AffectedSOPInstanceUID)
    return 0x0000


association = ae.associate(
    "127.0.0.1",
    int(port),
    ae_title="GANTRY",
    ext_neg=[build_role(CTImageStorage, scp_role=True)],
    evt_handlers=[(evt.EVT_C_STORE, store)],
    tls_args=(context, "localhost"),
)
if not association.is_established:
    sys.exit("no association")
echo = association.send_c_echo()
identifier = Dataset()
identifier.QueryRetrieveLevel = "STUDY"
identifier.StudyInstanceUID = study
find = list(association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
for _ in association.send_c_get(identifier, StudyRootQueryRetrieveInformationModelGet):
    pass
association.release()
matches = sum(1 for status, _ in find if status.Status in (0xFF00, 0xFF01))
answers = " ".join(f"{status.Status:04X}" if "Status" in status else "nothing" for status, _ in find)
print(f"echo {echo.Status:04X}, {matches} match, {len(came)} objects; C-FIND was answered with {answers}")
