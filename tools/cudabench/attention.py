"""torch's attention: flash for prompts, and one query row for each sequence of a decoding batch."""

import math

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from dense import random
from timing import close, microseconds, sets

CONTEXTS = [512, 4096, 8192, 32768]
BATCH = 32


def attend(q, k, v, causal):
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)


def run(s, device, tiny, results):
    contexts = [16, 40] if tiny else CONTEXTS
    for context in contexts:
        decode(s, device, tiny, results, context)
    for tokens in contexts:
        prefill(s, device, tiny, results, tokens)


def flash(device):
    """On a GPU nothing slower than flash attention may stand in for it."""
    return sdpa_kernel([SDPBackend.FLASH_ATTENTION] if device == "cuda" else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH])


def decode(s, device, tiny, results, context):
    name = f"attend_decode/batch={BATCH}/context={context}"
    if not results.wanted(name):
        return
    size = 4 * BATCH * s["kv_heads"] * context * s["head_dim"]

    def cache():
        return tuple(random(device, BATCH, s["kv_heads"], context, s["head_dim"]) for _ in "kv")

    q = random(device, BATCH, s["heads"], 1, s["head_dim"])
    caches = sets(cache, size, tiny)
    with flash(device):
        close(name, attend(q, *caches[0], False)[5], exact(q[5], *(t[5] for t in caches[0]), context - 1), 5e-3)
        samples = microseconds(lambda k, v: attend(q, k, v, False), caches)
    results.add(name, samples, size + 4 * q.numel(), 4 * BATCH * s["heads"] * context * s["head_dim"])


def prefill(s, device, tiny, results, tokens):
    name = f"attend_prefill/tokens={tokens}"
    if not results.wanted(name):
        return
    q = random(device, 1, s["heads"], tokens, s["head_dim"])
    k, v = (random(device, 1, s["kv_heads"], tokens, s["head_dim"]) for _ in "kv")
    row = tokens // 2
    with flash(device):
        got = attend(q, k, v, True)[0, :, row : row + 1]
        close(name, got, exact(q[0, :, row : row + 1], k[0], v[0], row), 5e-3)
        samples = microseconds(lambda: attend(q, k, v, True), [()])
    size = 4 * tokens * (s["heads"] + s["kv_heads"]) * s["head_dim"]
    results.add(name, samples, size, 2 * tokens * (tokens + 1) * s["heads"] * s["head_dim"])


def exact(q, k, v, last):
    """One row [head][1][column] over the keys up to a position, in float64."""
    group = q.shape[0] // k.shape[0]
    k, v = (t[:, : last + 1].double().repeat_interleave(group, 0) for t in (k, v))
    return torch.softmax(q.double() @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), -1) @ v
