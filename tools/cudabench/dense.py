"""What the device can do at most, and cuBLAS's products."""

import torch
import torch.nn.functional as F

from timing import close, microseconds, sets

TOKENS = [1, 2, 4, 8, 16, 32, 64, 128, 512, 2048, 8192]
MOST_HEAD_TOKENS = 128


def kind(device):
    """The type of weights and activations: bf16, but on the CPU, where Triton's interpreter gets its products wrong."""
    return torch.bfloat16 if device == "cuda" else torch.float16


def random(device, *shape, spread=1.0):
    return torch.randn(shape, device=device, dtype=kind(device)) * spread


def copy_bandwidth(device, tiny):
    """Bytes read plus bytes written per second."""
    source = torch.randn(1 << 20 if tiny else 1 << 29, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * source.numel() / (microseconds(target.copy_, [(source,)])[0] / 1e6)


def peak_flops(device, tiny):
    """Of a large product in bf16."""
    n = 256 if tiny else 8192
    a, b = random(device, n, n), random(device, n, n)
    return 2 * n**3 / (microseconds(torch.mm, [(a, b)])[0] / 1e6)


def products(s):
    """The projections of a layer and of the head, as (label, outputs, inputs)."""
    qkv = (s["heads"] + 2 * s["kv_heads"]) * s["head_dim"]
    return [
        ("qkv", qkv, s["hidden"]), ("o", s["hidden"], s["heads"] * s["head_dim"]), ("gate_up", 2 * s["inner"], s["hidden"]),
        ("down", s["hidden"], s["inner"]), ("lm_head", s["vocab"], s["hidden"]),
    ]


def run(s, device, tiny, results):
    for label, outputs, inputs in products(s):
        if not any(results.wanted(f"project/{label}/tokens={n}") for n in TOKENS):
            continue
        weights = sets(lambda: random(device, outputs, inputs, spread=1 / 64), 2 * outputs * inputs, tiny)
        for tokens in TOKENS[:4] if tiny else TOKENS:
            name = f"project/{label}/tokens={tokens}"
            if not results.wanted(name) or (label == "lm_head" and tokens > MOST_HEAD_TOKENS):
                continue
            x = random(device, tokens, inputs)
            some = torch.randint(outputs, (64,), device=device)
            close(name, F.linear(x, weights[0])[:, some], x.double() @ weights[0][some].double().T, 5e-3)
            samples = microseconds(F.linear, [(x, w) for w in weights])
            results.add(name, samples, 2 * outputs * inputs + 2 * tokens * (inputs + outputs), 2 * tokens * outputs * inputs)
