"""Operators of a Llama with adapters, as transformers and PEFT compute them on the device, in one type throughout."""

import math
import zlib

import torch
import torch.nn.functional as F
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding, apply_rotary_pos_emb

import inputs

EPS = 1e-5
POSITIONS = [0, 1, 15, 16, 17, 511, 4095]  # of rope's rows
PREFILL_ROWS = {0: 19, 43: 14}  # rows by the tokens that went before
DECODE_KEYS = [1, 16, 17, 100, 300]  # keys of decode's rows
MIXED_RANKS = [1, 3, 4, 8, 16, 33, 64, 128, 256]
DISTINCT, ZIPF, SKEWED = 24, 1.5, 0.9  # most adapters of zipf and skewed; the exponent; the share of skewed's first

ROPE = {
    "default": {"rope_type": "default", "rope_theta": 10000.0},
    "llama3": {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}


class Case:
    """A case's inputs, made once in its type; an operator gets them in the type it computes in."""

    def __init__(self, seed, record, device):
        self.record, self.device, self.seed = record, device, seed
        self.compute = None  # the type that the operator is to compute in
        self.made = {}

    def input(self, name, *shape, spread=1.0, bias=0.0, kind=None):
        kind = kind or self.record["type"]
        if name not in self.made:
            self.made[name] = inputs.values(f"{self.seed}/{self.record['name']}/{name}", shape, kind, spread, bias)
        return self.made[name].to(self.device, self.compute)

    def checksums(self):
        """The CRC-32 of every input, so that who makes it again knows that it is the same."""
        return {name: checksum(tensor) for name, tensor in sorted(self.made.items())}


def checksum(tensor):
    return zlib.crc32(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())


def rmsnorm(case):
    r = case.record
    x = case.input("x", r["rows"], r["width"])
    norm = LlamaRMSNorm(r["width"], eps=EPS).to(case.device, case.compute)
    norm.weight.data = case.input("gamma", r["width"], spread=0.2, bias=1)
    return {"y": norm(x)}


def rope(case):
    r = case.record
    r["positions"], r["rope"] = POSITIONS, ROPE[r["scaling"]]
    rows, dim = len(POSITIONS), r["head_dim"]
    config = LlamaConfig(
        hidden_size=r["heads"] * dim, num_attention_heads=r["heads"], head_dim=dim, max_position_embeddings=131072, rope_parameters=dict(r["rope"])
    )
    q = case.input("q", rows, r["heads"], dim)
    k = case.input("k", rows, r["kv_heads"], dim)
    cos, sin = LlamaRotaryEmbedding(config).to(case.device)(q, torch.tensor([POSITIONS], device=case.device))
    q, k = apply_rotary_pos_emb(q.transpose(0, 1)[None], k.transpose(0, 1)[None], cos, sin)
    return {"q": q[0].transpose(0, 1), "k": k[0].transpose(0, 1)}


def project(case):
    r = case.record
    w = case.input("w", r["out"], r["in"], spread=1 / math.sqrt(r["in"]))
    return {"y": F.linear(case.input("x", r["tokens"], r["in"]), w)}


def heads(case):
    """The query heads and key heads of a group size: two key heads, but for the largest group."""
    kv_heads = 1 if case.record["group"] == 8 else 2
    case.record["kv_heads"] = kv_heads
    return kv_heads * case.record["group"], kv_heads


def attend(q, k, v, start):
    """Causal attention of rows [row][head][column], the first of which is at a position."""
    rows, keys = q.shape[0], k.shape[0]
    mask = torch.arange(keys, device=q.device)[None] <= start + torch.arange(rows, device=q.device)[:, None]
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    how = {"is_causal": True} if start == 0 and rows > 1 else {"attn_mask": mask}
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **how)[0].transpose(0, 1)


def prefill(case):
    r = case.record
    q_heads, kv_heads = heads(case)
    start = r["history"]
    rows = r["rows"] = PREFILL_ROWS[start]
    q = case.input("q", rows, q_heads, r["head_dim"])
    k = case.input("k", start + rows, kv_heads, r["head_dim"])
    v = case.input("v", start + rows, kv_heads, r["head_dim"])
    return {"y": attend(q, k, v, start)}


def decode(case):
    r = case.record
    q_heads, kv_heads = heads(case)
    r["keys"] = DECODE_KEYS
    q = case.input("q", len(DECODE_KEYS), q_heads, r["head_dim"])
    out = []
    for row, keys in enumerate(DECODE_KEYS):
        k = case.input(f"k{row}", keys, kv_heads, r["head_dim"])
        v = case.input(f"v{row}", keys, kv_heads, r["head_dim"])
        out.append(attend(q[row : row + 1], k, v, keys - 1))
    return {"y": torch.cat(out)}


def silu_mul(case):
    r = case.record
    gate, up = (case.input(name, r["rows"], r["width"], spread=3) for name in ("gate", "up"))
    return {"y": F.silu(gate) * up}


def segments(seed, record):
    """The runs [adapter, rows] of a batch, -1 for base rows, of which there is one after every fourth row or so."""
    name = f"{seed}/{record['name']}/segments"
    rows = record["tokens"]
    base = rows // 5
    adapted = rows - base
    kind = record["distribution"]
    if kind == "distinct":
        counts = [1] * adapted
    elif kind == "uniform":
        n = math.ceil(math.sqrt(adapted))
        counts = [adapted * (i + 1) // n - adapted * i // n for i in range(n)]
    elif kind == "identical":
        counts = [adapted]
    elif kind == "skewed":  # one adapter has most rows, the others one each
        first = max(1, round(adapted * SKEWED))
        counts = [first] + [1] * (adapted - first)
    else:  # popularity of the k-th adapter falls as k ** -1.5
        weights = torch.tensor([(k + 1) ** -ZIPF for k in range(DISTINCT)], dtype=torch.float64)
        ends = (weights.cumsum(0) / weights.sum() * 2**32).to(torch.int64)
        drawn = torch.searchsorted(ends, inputs.below(name, (adapted,), 2**32), right=True).clamp(max=DISTINCT - 1)
        counts = [n for n in torch.bincount(drawn).tolist() if n]
    gaps = inputs.below(name + " between", (base,), len(counts)).tolist() if base else []
    runs = []
    for adapter, count in enumerate(counts):
        runs.append([adapter, count])
        if gaps.count(adapter):
            runs.append([-1, gaps.count(adapter)])
    return runs


def lora(case):
    r = case.record
    r["segments"] = segments(case.seed, r)
    adapters = sum(1 for adapter, _ in r["segments"] if adapter >= 0)
    r["ranks"] = [r["rank"] if r["rank"] != "mixed" else MIXED_RANKS[(i + r["tokens"]) % len(MIXED_RANKS)] for i in range(adapters)]
    r["scales"] = [0.5 + i % 7 / 4 for i in range(adapters)]
    x = case.input("x", r["tokens"], r["in"])
    base = case.input("base", r["tokens"], r["out"])
    hidden, out, row = [], [], 0
    for adapter, count in r["segments"]:
        rows = slice(row, row + count)
        row += count
        if adapter < 0:
            out.append(base[rows])
            continue
        rank = r["ranks"][adapter]
        a = case.input(f"a{adapter}", rank, r["in"], spread=1 / math.sqrt(r["in"]))
        b = case.input(f"b{adapter}", r["out"], rank, spread=1 / math.sqrt(rank))
        shrunk = F.linear(x[rows], a)
        hidden.append(shrunk.flatten())
        out.append(base[rows] + F.linear(shrunk, b) * r["scales"][adapter])
    return {"hidden": torch.cat(hidden), "y": torch.cat(out)}


def sample(case):
    """Softmax at the temperature, then top-k, top-p and min-p together on those probabilities. Equals share one fate."""
    r = case.record
    wanted = {"top_k": r["vocab"], "top_p": 1.0, "min_p": 0.0}
    wanted.update((word.split()[0], float(word.split()[1])) for word in r["filter"].split(", "))
    logits = case.input("logits", r["vocab"], spread=2)
    logprobs = torch.log_softmax(logits / wanted["temperature"], 0)
    p = logprobs.exp()
    ordered = p.sort(descending=True).values
    above = torch.searchsorted(-ordered, -p)  # how many tokens are likelier than each
    probability = F.pad(ordered.cumsum(0), (1, 0))[above]  # and how likely together
    kept = above < wanted["top_k"]
    if wanted["top_p"] < 1:
        refuse_close(case, probability, wanted["top_p"])
        kept &= probability <= wanted["top_p"]
    if wanted["min_p"] > 0:
        refuse_close(case, p, wanted["min_p"] * p.max())
        kept &= p >= wanted["min_p"] * p.max()
    p = torch.where(kept, p, 0)
    return {"logprobs": logprobs, "probabilities": p / p.sum()}


def refuse_close(case, values, threshold):
    """A value at the threshold would be kept or not by rounding alone: such a case says nothing."""
    if ((values - threshold).abs() < 2e-6).any():
        raise SystemExit(f"{case.record['name']}: a token lies at the threshold {threshold}; choose another one")


OPERATORS = {f.__name__: f for f in (rmsnorm, rope, project, prefill, decode, silu_mul, lora, sample)}


@torch.no_grad()
def run(seed, record, device):
    """The outputs of a case: "case/output cuda" in its type and "case/output cuda f32" computed in float32, which are the
    same for float32. The record gains what the case chose by itself, and the checksums of the inputs."""
    case = Case(seed, record, device)
    out = {}
    for label, kind in (("cuda", record["type"]), ("cuda f32", "f32")):
        if label == "cuda f32" and record["type"] == "f32":
            break
        case.compute = inputs.TYPES[kind]
        for name, tensor in OPERATORS[record["operator"]](case).items():
            out[f"{record['name']}/{name} {label}"] = tensor.contiguous().cpu()
    record["inputs"] = case.checksums()
    return out
