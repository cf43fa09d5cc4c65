#!/usr/bin/env python3
"""What dicomweb-client, unmodified, sees of a bridge: searches at every level, retrievals at every level.

  dicomweb_client_session.py DICOMWEB_URL MANIFEST

Fails unless it finds and retrieves exactly what the manifest lists."""

import json
import sys
from collections import defaultdict
from pathlib import Path

from dicomweb_client.api import DICOMwebClient

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"


def values(matches, tag):
    return sorted(match[tag]["Value"][0] for match in matches)


def uids(datasets):
    return sorted(str(ds.SOPInstanceUID) for ds in datasets)


def main():
    url, manifest = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    client = DICOMwebClient(url)
    tree = defaultdict(lambda: defaultdict(set))
    for entry in manifest:
        tree[entry["study"]][entry["series"]].add(entry["instance"])

    assert values(client.search_for_studies(), STUDY) == sorted(tree)
    assert values(client.search_for_series(), SERIES) == sorted(series for study in tree.values() for series in study)
    assert values(client.search_for_instances(), INSTANCE) == sorted(entry["instance"] for entry in manifest)
    page = client.search_for_studies(limit=2, offset=1, fields=["StudyDescription"])
    assert len(page) == min(2, len(tree) - 1), page

    for study, of_study in tree.items():
        found = client.search_for_studies(search_filters={"StudyInstanceUID": study})
        assert values(found, STUDY) == [study], found
        assert values(client.search_for_series(study), SERIES) == sorted(of_study)
        every = sorted(instance for series in of_study.values() for instance in series)
        assert values(client.search_for_instances(study), INSTANCE) == every
        assert uids(client.retrieve_study(study, media_types=as_stored())) == every
        for series, instances in of_study.items():
            assert values(client.search_for_instances(study, series), INSTANCE) == sorted(instances)
            assert uids(client.retrieve_series(study, series, media_types=as_stored())) == sorted(instances)
            instance = min(instances)
            single = client.retrieve_instance(study, series, instance, media_types=as_stored())
            assert str(single.SOPInstanceUID) == instance
    print(f"{len(manifest)} objects of {len(tree)} studies found and retrieved")


def as_stored():
    return (("application/dicom", "*"),)


if __name__ == "__main__":
    main()
