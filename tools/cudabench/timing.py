"""Time on the device: chains of calls as CUDA graphs, so that nothing but the kernels and their gaps counts."""

import time

import torch

SAMPLE, SAMPLES = 4e-3, 11  # seconds of one sample, and how many of them
ROTATED, MOST_SETS = 1 << 30, 1000  # bytes of weights that a chain goes through, and in how many sets; kernelbench's


def sets(make, size, tiny):
    """Inputs of a call, as often as makes them larger than caches."""
    return [make() for _ in range(2 if tiny else max(1, min(-(-ROTATED // size), MOST_SETS)))]


def microseconds(call, inputs):
    """Samples of the time of call(*input), the inputs taken in turn, sorted. The first call is not counted."""
    call(*inputs[0])
    if not torch.cuda.is_available():
        return sorted(clocked(call, *inputs[i % len(inputs)]) for i in range(SAMPLES))
    torch.cuda.synchronize()
    once = clocked(call, *inputs[0]) / 1e6
    chain = [inputs[i % len(inputs)] for i in range(max(len(inputs), round(SAMPLE / once)) if once * len(inputs) < 1 else len(inputs))]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for arguments in chain:
            call(*arguments)
    samples = []
    for _ in range(SAMPLES + 2):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        samples.append(1e3 * begin.elapsed_time(end) / len(chain))
    return sorted(samples[2:])


def clocked(call, *arguments):
    """One call by the host's clock."""
    began = time.perf_counter()
    call(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1e6 * (time.perf_counter() - began)


class Results:
    """Rows as kernelbench writes them."""

    def __init__(self, only):
        self.rows, self.only = [], only

    def wanted(self, name):
        return self.only is None or self.only.search(name)

    def add(self, name, samples, moved=0, flops=0):
        us = samples[len(samples) // 2]
        self.rows.append({"name": name, "us": us, "lowest_us": samples[0], "highest_us": samples[-1], "bytes": moved, "flops": flops})
        rates = f"{moved / us / 1e3:8.0f} GB/s {flops / us / 1e6:8.1f} TFLOP/s"
        print(f"{name:48} {us:10.1f} us {rates}", flush=True)


def close(name, got, want, limit):
    """No time counts of something that computes something else."""
    error = ((got.double() - want).norm() / want.norm()).item()
    if not error <= limit:
        raise SystemExit(f"{name}: off by {error:.3g}, more than {limit:g}")
