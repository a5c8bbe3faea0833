#!/usr/bin/env python3
"""Write the parity fixtures: what PyTorch, transformers and PEFT compute on a CUDA device for the cases of cases.json.

    pip install -r tools/parity/requirements.txt
    python3 tools/parity/generate.py --out testdata/parity

The inputs follow from the cases' names (inputs.py), so only outputs are written. It takes a minute on an H200.
"""

import argparse
import hashlib
import json
import pathlib
import platform
import shutil
import subprocess
import tarfile
import time

import numpy
import peft
import safetensors
import torch
import transformers
from safetensors.torch import save_file

import models
import operators
import table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to write; what it holds is replaced")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the generator out")
    parser.add_argument("--tar", type=pathlib.Path, help="pack the folder into this .tar.gz as well")
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False

    cases = table.load()
    shutil.rmtree(args.out, ignore_errors=True)
    write_operators(cases, args.device, args.out / "operators")
    for entry in cases["models"]:
        began = time.time()
        models.run(cases["seed"], entry, cases["adapters"], cases["version"], args.device, args.out / "models" / entry["model"])
        print(f"{entry['model']}: {time.time() - began:.1f} s", flush=True)
    for file in args.out.rglob("*.safetensors"):
        file.chmod(0o644)  # the library leaves them to their owner alone
    write_manifest(cases, args.device, args.out)
    size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file())
    print(f"{args.out}: {size / 1e6:.2f} MB")
    if args.tar:
        with tarfile.open(args.tar, "w:gz") as tar:
            tar.add(args.out, arcname=args.out.name)
        print(f"{args.tar}: {args.tar.stat().st_size / 1e6:.2f} MB")


def write_operators(cases, device, folder):
    """One operator has "operator.safetensors" with the outputs, and "operator.json" with the cases they belong to."""
    folder.mkdir(parents=True)
    outputs, records = {}, {}
    for entry in cases["operators"]:
        began = time.time()
        name = entry["operator"]
        for record in table.cases(entry):
            outputs.setdefault(name, {}).update(operators.run(cases["seed"], record, device))
            records.setdefault(name, {})[record["name"]] = record
        print(f"{name}: {time.time() - began:.1f} s", flush=True)
    for name in outputs:
        save_file(outputs[name], folder / f"{name}.safetensors", metadata={"version": str(cases["version"])})
        lines = (f"{json.dumps(case)}: {json.dumps(record, sort_keys=True)}" for case, record in sorted(records[name].items()))
        text = f'{{"version": {cases["version"]}, "cases": {{\n' + ",\n".join(lines) + "\n}}\n"
        (folder / f"{name}.json").write_text(text)


def write_manifest(cases, device, out):
    files = {
        str(file.relative_to(out)): {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in sorted(out.rglob("*"))
        if file.is_file()
    }
    manifest = {
        "version": cases["version"],
        "seed": cases["seed"],
        "command": "python3 tools/parity/generate.py --out testdata/parity" + ("" if device == "cuda" else f" --device {device}"),
        "device": describe(device),
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda, "transformers": transformers.__version__,
            "peft": peft.__version__, "safetensors": safetensors.__version__, "numpy": numpy.__version__,
        },
        "files": files,
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def describe(device):
    if device == "cpu":
        return "CPU"
    driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True).stdout
    return f"{torch.cuda.get_device_name()}, driver {driver.split()[0] if driver.split() else 'unknown'}"


if __name__ == "__main__":
    main()
