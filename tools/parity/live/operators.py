"""Operators of a Llama with adapters, at the shapes of a layer: fresh random bf16 inputs, the result in float64, and
what PyTorch makes of them in bf16."""

import math

import torch
import torch.nn.functional as F
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding, apply_rotary_pos_emb

EPS = 1e-5  # operators.go has the same
ROPE = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
POSITIONS = [0, 1, 15, 16, 17, 511, 512, 1023, 2048, 4095, 8000, 8191]  # of rope's rows
RANKS = [8, 16, 64, 256]
SEGMENTS = [[0, 16], [-1, 4], [1, 1], [2, 30], [3, 13]]  # rows by adapter, -1 for rows of the base


class Draw:
    """Random inputs of one run."""

    def __init__(self, seed, device):
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device = device

    def __call__(self, *shape, spread=1.0, bias=0.0):
        values = torch.randn(shape, generator=self.generator, device=self.device)
        return (values * spread + bias).to(torch.bfloat16)


def cases(s, draw):
    """Every case as (name, fields, inputs, float64 results, PyTorch's results); s is a shape of llama.py."""
    qkv = (s["heads"] + 2 * s["kv_heads"]) * s["head_dim"]
    attended = s["heads"] * s["head_dim"]
    shapes = {
        "qkv": (qkv, s["hidden"]), "o": (s["hidden"], attended), "gate_up": (2 * s["inner"], s["hidden"]),
        "down": (s["hidden"], s["inner"]), "lm_head": (s["vocab"], s["hidden"]),
    }
    for label, (outputs, inputs) in shapes.items():
        for tokens in (1, 8, 64) if label == "lm_head" else (1, 4, 8, 16, 64, 512):
            yield project(f"project/{label} {outputs}x{inputs}/{tokens} tokens", draw, outputs, inputs, tokens)
    yield rmsnorm(f"rmsnorm/{s['hidden']} columns/64 tokens", draw, s["hidden"], 64)
    yield rope(f"rope/{s['heads']} and {s['kv_heads']} heads of {s['head_dim']}", draw, s)
    yield silu_mul(f"silu_mul/{s['inner']} columns/64 tokens", draw, s["inner"], 64)
    for history, rows in ((0, 1024), (1000, 256)):
        yield prefill(f"attend_prefill/{rows} tokens after {history}", draw, s, history, rows)
    keys = [1, 17, 512, 4097, 8192]
    yield decode(f"attend_decode/{', '.join(map(str, keys))} keys", draw, s, keys)
    for label, inputs in (("o", attended), ("down", s["inner"])):
        ranks = ", ".join(map(str, RANKS))
        yield lora(f"shrink and expand/{label} {s['hidden']}x{inputs}/ranks {ranks}/64 tokens", draw, s["hidden"], inputs)


def project(name, draw, outputs, inputs, tokens):
    w, x = draw(outputs, inputs, spread=1 / math.sqrt(inputs)), draw(tokens, inputs)
    fields = {"operator": "project", "in": inputs, "out": outputs, "tokens": tokens}
    return name, fields, {"w": w, "x": x}, {"y": F.linear(x.double(), w.double())}, {"y": F.linear(x, w)}


def rmsnorm(name, draw, width, tokens):
    x, gamma = draw(tokens, width), draw(width, spread=0.2, bias=1)
    norm = LlamaRMSNorm(width, eps=EPS).to(x.device, x.dtype)
    norm.weight.data = gamma
    wide = x.double()
    exact = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS) * gamma.double()
    return name, {"operator": "rmsnorm", "in": width, "tokens": tokens}, {"x": x, "gamma": gamma}, {"y": exact}, {"y": norm(x)}


def silu_mul(name, draw, width, tokens):
    gate, up = draw(tokens, width, spread=3), draw(tokens, width, spread=3)
    fields = {"operator": "silu_mul", "in": width, "tokens": tokens}
    return name, fields, {"gate": gate, "up": up}, {"y": F.silu(gate.double()) * up.double()}, {"y": F.silu(gate) * up}


def rope(name, draw, s):
    dim, rows = s["head_dim"], len(POSITIONS)
    q, k = draw(rows, s["heads"], dim), draw(rows, s["kv_heads"], dim)
    config = LlamaConfig(
        hidden_size=s["heads"] * dim, num_attention_heads=s["heads"], head_dim=dim, max_position_embeddings=131072, rope_parameters=dict(ROPE)
    )
    at = torch.tensor([POSITIONS], device=q.device)
    cos, sin = LlamaRotaryEmbedding(config).to(q.device)(q, at)
    turned = apply_rotary_pos_emb(q.transpose(0, 1)[None], k.transpose(0, 1)[None], cos, sin)
    theirs = {key: t[0].transpose(0, 1).flatten(1) for key, t in zip("qk", turned)}
    angles = at[0, :, None, None].double() * frequencies(dim, q.device)
    exact = {key: turn(t.double(), angles).flatten(1) for key, t in (("q", q), ("k", k))}
    fields = {"operator": "rope", "positions": POSITIONS, "rope": ROPE, **heads(s)}
    return name, fields, {"q": q.flatten(1), "k": k.flatten(1)}, exact, theirs


def frequencies(dim, device):
    """Llama 3's angles per position, in float64."""
    f = ROPE["rope_theta"] ** (-torch.arange(0, dim, 2, device=device, dtype=torch.float64) / dim)
    turns = ROPE["original_max_position_embeddings"] * f / (2 * math.pi)
    low, high = ROPE["low_freq_factor"], ROPE["high_freq_factor"]
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return smooth * f + (1 - smooth) * f / ROPE["factor"]


def turn(x, angles):
    a, b = x.chunk(2, -1)
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


def heads(s):
    return {"heads": s["heads"], "kv_heads": s["kv_heads"], "head_dim": s["head_dim"]}


def attend(q, k, v, start):
    """Causal attention of rows [row][head][column], the first of which is at a position."""
    rows, keys = q.shape[0], k.shape[0]
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    how = {}
    if rows > 1:
        mask = torch.arange(keys, device=q.device)[None] <= start + torch.arange(rows, device=q.device)[:, None]
        how = {"is_causal": True} if start == 0 else {"attn_mask": mask}
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **how)[0].transpose(0, 1).flatten(1)


def prefill(name, draw, s, history, rows):
    q = draw(rows, s["heads"], s["head_dim"])
    k, v = (draw(history + rows, s["kv_heads"], s["head_dim"]) for _ in "kv")
    fields = {"operator": "prefill", "history": history, "tokens": rows, **heads(s)}
    inputs = {"q": q.flatten(1), "k": k.flatten(1), "v": v.flatten(1)}
    return name, fields, inputs, {"y": attend(q.double(), k.double(), v.double(), history)}, {"y": attend(q, k, v, history)}


def decode(name, draw, s, keys):
    q = draw(len(keys), s["heads"], s["head_dim"])
    inputs, exact, theirs = {"q": q.flatten(1)}, [], []
    for row, n in enumerate(keys):
        k, v = (draw(n, s["kv_heads"], s["head_dim"]) for _ in "kv")
        inputs |= {f"k{row}": k.flatten(1), f"v{row}": v.flatten(1)}
        exact.append(attend(q[row : row + 1].double(), k.double(), v.double(), n - 1))
        theirs.append(attend(q[row : row + 1], k, v, n - 1))
    fields = {"operator": "decode", "keys": keys, **heads(s)}
    return name, fields, inputs, {"y": torch.cat(exact)}, {"y": torch.cat(theirs)}


def lora(name, draw, outputs, inputs):
    x = draw(sum(rows for _, rows in SEGMENTS), inputs)
    made, scales = {"x": x}, []
    for i, rank in enumerate(RANKS):
        made[f"a{i}"] = draw(rank, inputs, spread=1 / math.sqrt(inputs))
        made[f"b{i}"] = draw(outputs, rank, spread=1 / math.sqrt(rank))
        scales.append(0.5 + i / 4)

    def compute(kind):
        parts = []
        for (adapter, _), rows in zip(SEGMENTS, x.to(kind).split([rows for _, rows in SEGMENTS])):
            if adapter < 0:
                parts.append(rows.new_zeros(len(rows), outputs))
            else:
                a, b = made[f"a{adapter}"].to(kind), made[f"b{adapter}"].to(kind)
                parts.append(F.linear(F.linear(rows, a), b) * scales[adapter])
        return {"y": torch.cat(parts)}

    fields = {"operator": "lora", "in": inputs, "out": outputs, "tokens": len(x), "ranks": RANKS, "scales": scales, "segments": SEGMENTS}
    return name, fields, made, compute(torch.float64), compute(torch.bfloat16)
