#!/usr/bin/env python3
"""PyTorch and Lorikeet on the same GPU, with fresh random inputs: how far is each from float64, or float32 for models?

    make parity-live                                        # on a CUDA host with a Vulkan driver
    live.py --tiny --device cpu --kernels .. --lorikeet ..  # to try it out on any machine

Fails when Lorikeet's error is larger than PyTorch's, or a greedy token differs without a near tie.
"""

import argparse
import json
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

import peft
import torch
import transformers
from safetensors.torch import save_file

import llama
import operators
import report
import serve

DEMO = pathlib.Path(__file__).parents[3] / "testdata" / "demo"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", type=pathlib.Path, required=True, help="the binary of this folder")
    parser.add_argument("--lorikeet", type=pathlib.Path, required=True, help="the server's binary")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try it out")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try it out")
    parser.add_argument("--layers", type=int, help="of the model; fewer need less memory")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="of all inputs, default: a new one")
    parser.add_argument("--only", choices=["operators", "model"], help="leave the other part out")
    parser.add_argument("--work", type=pathlib.Path, help="folder for inputs and logs, default: a temporary one")
    parser.add_argument("--document", type=pathlib.Path, help="write the table into this file, between its markers")
    args = parser.parse_args()
    if args.document and args.only:
        parser.error("--document wants both parts")
    exact_products()
    shape = dict(llama.SHAPES["tiny" if args.tiny else "full"])
    shape["layers"] = args.layers or shape["layers"]
    work = args.work or pathlib.Path(tempfile.mkdtemp(prefix="parity-live-"))
    print(f"seed {args.seed}, inputs and logs in {work}", flush=True)
    table, draw = report.Table(), operators.Draw(args.seed, args.device)
    if args.only != "model":
        run_operators(args, shape, draw, work / "operators", table)
    if args.only != "operators":
        run_model(args, shape, draw, work / "model", table)
    print("\n".join(table.lines))
    for failure in table.failed:
        print("FAIL", failure)
    if args.document:
        publish(args, shape, table)
    if not args.work:
        shutil.rmtree(work)
    sys.exit(bool(table.failed))


def exact_products():
    """No reference below may be computed in fewer bits than its type has."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    transformers.utils.logging.disable_progress_bar()


@torch.no_grad()
def run_operators(args, shape, draw, folder, table):
    """Write every case's inputs and float64 results, run the kernels on them, and compare."""
    began = time.time()
    folder.mkdir(parents=True)
    list_, theirs = [], {}
    for i, (name, fields, inputs, exact, pytorch) in enumerate(operators.cases(shape, draw)):
        file = f"case{i:02}.safetensors"
        tensors = inputs | {f"exact {key}": t.float() for key, t in exact.items()}
        save_file({key: t.contiguous().cpu() for key, t in tensors.items()}, folder / file)
        list_.append({"name": name, "file": file, **fields})
        theirs[name] = {key: ((pytorch[key].double() - t).norm() / t.norm()).item() for key, t in exact.items()}
    (folder / "cases.json").write_text(json.dumps(list_))
    print(f"{len(list_)} operators in PyTorch: {time.time() - began:.1f} s", flush=True)
    began = time.time()
    subprocess.run([args.kernels.resolve(), "-cases", folder, "-out", folder / "errors.json"], check=True)
    print(f"the same in Lorikeet: {time.time() - began:.1f} s", flush=True)
    measured = json.loads((folder / "errors.json").read_text())
    table.lines.append(f"Lorikeet ran on {measured['device']}, {measured['driver']}.")
    report.operators(table, theirs, measured)
    for file in folder.glob("*.safetensors"):
        file.unlink()


def run_model(args, shape, draw, folder, table):
    """Let both continue prompts without and with each adapter, and compare."""
    folder.mkdir(parents=True)
    began = time.time()
    network = llama.build(shape, draw, folder)
    print(f"checkpoint of {shape['layers']} layers and {len(llama.ADAPTERS)} adapters written: {time.time() - began:.1f} s", flush=True)
    began = time.time()
    answers = llama.answers(network, shape, draw)
    print(f"answers of PyTorch: {time.time() - began:.1f} s", flush=True)
    del network
    if args.device == "cuda":
        torch.cuda.empty_cache()
    began = time.time()
    # Prompts and answers are ids; the tokenizer is there because a server wants one.
    arguments = ["--tokenizer-path", DEMO, "--context-length", "1024", "--max-running-requests", "16"]
    if args.device == "cpu":
        arguments.append("--allow-cpu")
    with serve.Server(args.lorikeet.resolve(), folder, llama.ADAPTERS, folder / "lorikeet.log", arguments) as server:
        print(f"Lorikeet serves: {time.time() - began:.1f} s", flush=True)
        rows, agree = serve.follow(server, answers, llama.PROMPT)
    print(f"answers of Lorikeet: {time.time() - began:.1f} s", flush=True)
    rows = {name: torch.tensor(list_, dtype=torch.float64) for name, list_ in rows.items()}
    report.models(table, answers, rows, agree, llama.PROMPT)
    for name in answers:
        check_choices(name, answers[name], rows[name], agree[name], table)
    for file in folder.rglob("*.safetensors"):
        file.unlink()


def check_choices(name, answer, rows, agree, table):
    """A greedy token may differ only where float32's lead over the next token is within twice the largest error."""
    worst = (rows - answer["exact"]).abs().max().item()
    for step, (same, lead) in enumerate(zip(agree, answer["margin"][llama.PROMPT - 1 :], strict=True)):
        if not same and not lead <= 2 * worst:
            table.failed.append(f"{name}: greedy token {step} differs, although its lead is {lead:.2g} and no error above {worst:.2g}")


def publish(args, shape, table):
    device = "CPU"
    if args.device == "cuda":
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
        device = f"{torch.cuda.get_device_name()}, driver {driver}"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
    text = report.INTRODUCTION.format(ids=llama.IDS, limit=report.LIMIT)
    text += f"\n\n{versions}; {shape['layers']} layers; seed {args.seed}; {len(table.failed)} failures.\n"
    report.publish(args.document, f"Live: {device}", text + "\n".join(table.lines))


if __name__ == "__main__":
    main()
