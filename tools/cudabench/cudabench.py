#!/usr/bin/env python3
"""The baseline of kernelbench and stepbench on the same GPU: cuBLAS, torch's attention, LoRA kernels in Triton, and whole steps.
Kernels and decode steps are checked before they are timed.

    python3 tools/cudabench/cudabench.py --json cudabench.json
    TRITON_INTERPRET=1 python3 tools/cudabench/cudabench.py --tiny --device cpu     # to try it out on any machine
"""

import argparse
import json
import re
import subprocess

import torch
import triton

import attention
import dense
import llama
import lora
import timing

FULL = {"hidden": 4096, "inner": 14336, "heads": 32, "kv_heads": 8, "head_dim": 128, "vocab": 128256, "layers": 32}  # Llama-3.1-8B
TINY = {"hidden": 64, "inner": 96, "heads": 4, "kv_heads": 2, "head_dim": 16, "vocab": 128, "layers": 2}
PARTS = {"dense": dense, "attention": attention, "lora": lora, "llama": llama}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--run", type=re.compile, help="rows to time, a regular expression")
    parser.add_argument("--parts", default=",".join(PARTS), help="of " + ", ".join(PARTS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try it out")
    args = parser.parse_args()
    shape = TINY if args.tiny else FULL
    bandwidth, peak = dense.copy_bandwidth(args.device, args.tiny), dense.peak_flops(args.device, args.tiny)
    print(f"{describe(args.device)}; copy {bandwidth / 1e12:.2f} TB/s, products up to {peak / 1e12:.0f} TFLOP/s", flush=True)
    results = timing.Results(args.run)
    report = {"device": describe(args.device), "driver": f"torch {torch.__version__}, triton {triton.__version__}"}
    report |= {"copy_bandwidth": bandwidth, "peak_flops": peak, "results": results.rows}
    for name in args.parts.split(","):
        PARTS[name].run(shape, args.device, args.tiny, results)
        if args.json:  # after each part, so that a later one that fails leaves them
            with open(args.json, "w") as file:
                json.dump(report, file, indent=1)
        if args.device == "cuda":
            torch.cuda.empty_cache()


def describe(device):
    if device == "cpu":
        return "CPU"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return f"{torch.cuda.get_device_name()}, driver {subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]}"


if __name__ == "__main__":
    main()
