"""LoRA over segments by Triton kernels of the chunked-SGMV kind: a program has up to 16 rows of one adapter, in bf16 with fp32
sums. Projections that share an input are slices: one shrink has the ranks of all of them, and the expand takes them apart."""

import itertools

import torch
import triton
import triton.language as tl

from dense import kind, random
from timing import close, microseconds, sets

CHUNK = 16  # rows of one program
TOKENS, RANKS, ADAPTERS = [1, 8, 32, 128], [8, 16, 64, 256], [1, 8, 32]
# What is tried for each size: columns of the input or output per step, warps and stages. The fastest counts.
CUTS = [(128, 4, 3), (256, 4, 3), (256, 8, 4)]


@triton.jit
def shrink_kernel(x, a, h, first, count, slot, width, ranks, BLOCK_R: tl.constexpr, BLOCK_K: tl.constexpr, ROWS: tl.constexpr):
    """h[t, r] = sum_k a[slot, r, k] x[t, k]; grid: (blocks of ranks, segments)."""
    segment = tl.program_id(1)
    row = tl.arange(0, ROWS)
    inside = row < tl.load(count + segment)
    t = tl.load(first + segment) + row
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    base = tl.load(slot + segment).to(tl.int64) * ranks * width
    total = tl.zeros((ROWS, BLOCK_R), tl.float32)
    for k0 in range(0, width, BLOCK_K):
        k = k0 + tl.arange(0, BLOCK_K)
        rows = tl.load(x + t[:, None] * width + k[None, :], mask=inside[:, None] & (k < width)[None, :], other=0.0)
        weights = tl.load(a + base + r[None, :] * width + k[:, None], mask=(r < ranks)[None, :] & (k < width)[:, None], other=0.0)
        total += tl.dot(rows, weights)
    tl.store(h + t[:, None] * ranks + r[None, :], total.to(h.dtype.element_ty), mask=inside[:, None] & (r < ranks)[None, :])


@triton.jit
def expand_kernel(
    h, b, y, first, count, slot, ends, scale, width, rank, slices, BLOCK_R: tl.constexpr, BLOCK_N: tl.constexpr, ROWS: tl.constexpr
):
    """y[t, n] += scale sum_r b[slot, n, r] h[t, slice * rank + r]; grid: (blocks of a slice's columns, segments, slices)."""
    segment, part = tl.program_id(1), tl.program_id(2)
    begin, end = tl.load(ends + part), tl.load(ends + part + 1)
    n = begin + tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.arange(0, ROWS)
    inside = (row < tl.load(count + segment))[:, None] & (n < end)[None, :]
    t = tl.load(first + segment) + row
    base = tl.load(slot + segment).to(tl.int64) * width * rank
    total = tl.zeros((ROWS, BLOCK_N), tl.float32)
    for r0 in range(0, rank, BLOCK_R):
        r = r0 + tl.arange(0, BLOCK_R)
        rows = tl.load(h + t[:, None] * slices * rank + part * rank + r[None, :], mask=(row < tl.load(count + segment))[:, None] & (r < rank)[None, :], other=0.0)
        weights = tl.load(b + base + n[None, :] * rank + r[:, None], mask=(r < rank)[:, None] & (n < end)[None, :], other=0.0)
        total += tl.dot(rows, weights)
    at = y + t[:, None] * width + n[None, :]
    tl.store(at, (tl.load(at, mask=inside, other=0.0).to(tl.float32) + scale * total).to(y.dtype.element_ty), mask=inside)


class Segments:
    """Rows of a batch by adapter, in chunks."""

    def __init__(self, device, counts):
        chunks, at = [], 0
        for slot, n in enumerate(counts):
            chunks += [(at + i, min(CHUNK, n - i), slot) for i in range(0, n, CHUNK)]
            at += n
        self.counts = counts
        self.first, self.count, self.slot = (torch.tensor(column, dtype=torch.int32, device=device) for column in zip(*chunks))


def spread_rows(tokens, adapters):
    """Rows of each adapter, as even as can be."""
    return [tokens * (i + 1) // adapters - tokens * i // adapters for i in range(adapters)]


def shrink(x, a, h, segments, cut):
    """a is [adapter][slices * rank][in]."""
    ranks, (columns, warps, stages) = a.shape[1], cut
    grid = (triton.cdiv(ranks, 16), len(segments.first))
    shrink_kernel[grid](
        x, a, h, segments.first, segments.count, segments.slot, x.shape[1], ranks,
        BLOCK_R=16, BLOCK_K=columns, ROWS=CHUNK, num_warps=warps, num_stages=stages,
    )


def expand(h, b, y, segments, ends, widest, scale, cut):
    """b is [adapter][all slices' outputs][rank]; ends are the first columns of the slices and the last one's end."""
    rank, (columns, warps, stages) = b.shape[2], cut
    slices = len(ends) - 1
    grid = (triton.cdiv(widest, columns), len(segments.first), slices)
    expand_kernel[grid](
        h, b, y, segments.first, segments.count, segments.slot, ends, scale, y.shape[1], rank, slices,
        BLOCK_R=max(16, min(64, triton.next_power_of_2(rank))), BLOCK_N=columns, ROWS=CHUNK, num_warps=warps, num_stages=stages,
    )


def run(s, device, tiny, results):
    width = s["hidden"]
    ends = torch.tensor([0, width], dtype=torch.int32, device=device)
    sizes = [(3, 8, 2), (40, 16, 2)] if tiny else itertools.product(TOKENS, RANKS, ADAPTERS)
    for tokens, rank, adapters in sizes:
        name = f"lora/tokens={tokens}/rank={rank}/adapters={adapters}"
        if adapters > tokens or not results.wanted(name):
            continue
        segments = Segments(device, spread_rows(tokens, adapters))
        x = random(device, tokens, width)
        h = torch.empty(tokens, rank, device=device, dtype=kind(device))
        y = random(device, tokens, width)

        def make():
            return random(device, adapters, rank, width, spread=1 / 64), random(device, adapters, width, rank, spread=1 / 64)

        def both(a, b):
            shrink(x, a, h, segments, cut)
            expand(h, b, y, segments, ends, width, 2.0, cut)

        weights = sets(make, 4 * adapters * rank * width, tiny)
        best = None
        for cut in CUTS:
            y.zero_()
            both(*weights[0])
            close(name, y, reference(x, *weights[0], segments), 2e-2)
            y.normal_()
            samples = microseconds(both, weights)
            if best is None or samples[len(samples) // 2] < best[len(best) // 2]:
                best = samples
        results.add(name, best, 4 * adapters * rank * width + 6 * tokens * width, 4 * tokens * rank * width)


def reference(x, a, b, segments):
    """The same in float64."""
    parts = []
    for slot, rows in enumerate(x.double().split(segments.counts)):
        parts.append(2.0 * rows @ a[slot].double().T @ b[slot].double().T)
    return torch.cat(parts)
