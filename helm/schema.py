#!/usr/bin/env python3
"""Writes `config` of gantry/values.schema.json from docs/configuration.md, so that the chart takes exactly the keys that
are documented: `helm/schema.py`. With `--check` it only says whether the file is as it should be."""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
SCHEMA = HERE / "gantry/values.schema.json"
DOCUMENT = HERE.parent / "docs/configuration.md"

# What the column of defaults does not tell. All other keys without a literal default are texts.
NUMBERS = {"rate", "max_associations"}
FRACTIONS = {"sample"}
LISTS = {"move_ae_titles", "called_as", "allow", "allow_any", "archives", "algorithms"}
ONE_OR_MORE = {"audience", "called", "calling", "sop_class", "modality", "archive"}
TEXTS = {"type": "array", "items": {"type": "string"}}
# Sections without a table of their own: any name, and what it is allowed.
OPEN = {"auth.scopes": TEXTS, "auth.certificates": TEXTS}
# Keys that are lists of tables.
TABLES = {"archive.NAME.store_from": {key: {"type": "string"} for key in ("ae_title", "network")}}
# Keys and sections that are tables with the keys of another.
ALIKE = {"ae.TITLE.tls": "archive.NAME.tls", "audit.syslog.tls": "archive.NAME.tls"}
# Placeholders of names in the titles of sections.
NAMES = {"NAME", "TITLE"}


def type_of(section, key, default):
    """The schema of one key."""
    path = f"{section}.{key}".lstrip(".")
    if path in TABLES:
        return {"type": "array", "items": {"type": "object", "additionalProperties": False, "properties": TABLES[path]}}
    if key in ONE_OR_MORE and section in ("route", "auth.oidc"):
        return {"anyOf": [{"type": "string"}, TEXTS]}
    if key in FRACTIONS:
        return {"type": "number"}
    if key in LISTS or default == "`[]`":
        return TEXTS
    if default in ("`true`", "`false`"):
        return {"type": "boolean"}
    if key in NUMBERS or re.fullmatch(r"`[0-9]+`", default):
        return {"type": "integer"}
    return {"type": "string"}


def sections(text):
    """Each section of the document with its keys, as their schemas."""
    found, current, fenced = {}, [], False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        title = re.match(r"## Top level|(?:## )?(`\[.*)", line)
        if fenced:
            continue
        if title:
            # `[a.b]`, or `[a.b.x]`, `.y`, … for several.
            heading = (title[1] or "").split(":")[0]
            paths = re.findall(r"`\[\[?([A-Za-z_.]+)\]\]?`", heading)[:1] or [""]
            parent = paths[0].rpartition(".")[0]
            current = paths + [f"{parent}{more}" for more in re.findall(r"`(\.[a-z]+)`", heading)]
            for path in current:
                found.setdefault(path, {})
        elif line.startswith("## "):
            current = []
        elif row := re.match(r"\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| (.*?) \| (.*) \|$", line):
            for key in re.findall(r"`([a-z_]+)`", row[1]):
                for path in current:
                    described = {"description": row[3].replace("`", "")} if len(current) == 1 else {}
                    found[path][key] = type_of(path, key, row[2]) | described
    for path, other in ALIKE.items():
        section, _, key = path.rpartition(".")
        found[section].pop(key, None)
        found[path] = dict(found[other])
    return found


def nested(found):
    """The sections, one in the other as in the file."""
    root = {"type": "object", "additionalProperties": False, "properties": {}}
    for path, keys in sorted(found.items()):
        here = root
        for part in filter(None, path.split(".")):
            if part in NAMES:
                below = here.get("additionalProperties")
                if not below:
                    here["additionalProperties"] = below = {"type": "object", "additionalProperties": False, "properties": {}}
                here = below
                continue
            here = here["properties"].setdefault(part, {"type": "object", "additionalProperties": False, "properties": {}})
            here = here.get("items", here)
            here.setdefault("properties", {})
            here["type"] = "object"
        here["properties"].update(keys)
        if path in OPEN:
            here["additionalProperties"] = OPEN[path]
    route = root["properties"]["route"]
    root["properties"]["route"] = {"type": "array", "items": route}
    for section in ("http", "dimse"):
        root["properties"][section]["properties"]["listen"]["pattern"] = r":[0-9]+$"
    return root


def main():
    whole = json.loads(SCHEMA.read_text())
    config = {"description": "gantry.toml, as docs/configuration.md has it."} | nested(sections(DOCUMENT.read_text()))
    if whole["properties"].get("config") == config:
        return
    if "--check" in sys.argv:
        sys.exit(f"{SCHEMA} is not what docs/configuration.md documents: run helm/schema.py")
    whole["properties"]["config"] = config
    SCHEMA.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
