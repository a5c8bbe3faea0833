"""The cases of cases.json, which this generator and the suite in Go both read."""

import itertools
import json
import pathlib

FILE = pathlib.Path(__file__).with_name("cases.json")


def load():
    return json.loads(FILE.read_text())


def cases(entry):
    """Every combination of an entry's lists, with its name: "operator/type/axis value/...", axes in alphabetical order.
    What is no list is common to all of them."""
    axes = sorted(key for key in entry if isinstance(entry[key], list) and key != "type")
    kinds = entry["type"] if isinstance(entry["type"], list) else [entry["type"]]
    fixed = {k: v for k, v in entry.items() if k not in axes and k not in ("type", "limit", "limit coop")}
    for kind in kinds:
        for combination in itertools.product(*(entry[axis] for axis in axes)):
            chosen = dict(zip(axes, combination))
            words = [fixed["operator"], kind] + [f"{axis} {value}" for axis, value in chosen.items()]
            yield {"name": "/".join(words), "type": kind, **fixed, **chosen}
