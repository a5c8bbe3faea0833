"""A whole step of a Llama in PyTorch: a CUDA-graphed decode step, without and with adapters, and a prefill. Products are cuBLAS's,
attention is torch's, adapters are lora.py's kernels, and what lies between is fused by torch.compile."""

import math

import torch
import torch.nn.functional as F

import lora
from attention import attend, exact, flash
from dense import kind, products, random
from timing import close, microseconds

BATCHES, ADAPTERS, RANK, CONTEXT = [1, 8, 16, 32, 64], [0, 1, 8, 32], 16, 512
PROMPTS, PROMPT = 8, 1024
CUT = (256, 4, 3)


def norm(x, weight):
    return F.rms_norm(x, (x.shape[-1],), weight, 1e-5)


def add_norm(x, y, weight):
    x = x + y
    return x, norm(x, weight)


def gated(both):
    gate, up = both.chunk(2, -1)
    return F.silu(gate) * up


def turn(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Model:
    """Random weights in the shape of a Llama."""

    def __init__(self, s, device, tiny):
        self.s, self.device = s, device
        self.add_norm, self.gated, self.turn = (f if tiny else torch.compile(f, dynamic=True) for f in (add_norm, gated, turn))
        layer = [p for p in products(s) if p[0] != "lm_head"]
        self.layers = [
            {label: random(device, outputs, inputs, spread=1 / math.sqrt(inputs)) for label, outputs, inputs in layer}
            | {f"{n}_norm": torch.ones(s["hidden"], device=device, dtype=kind(device)) for n in ("qkv", "gate_up")}
            for _ in range(s["layers"])
        ]
        self.final_norm = torch.ones(s["hidden"], device=device, dtype=kind(device))
        self.table, self.head = (random(device, s["vocab"], s["hidden"], spread=1 / math.sqrt(s["hidden"])) for _ in range(2))
        angles = torch.rand(s["head_dim"] // 2, device=device)
        self.cos, self.sin = angles.cos().to(kind(device)), angles.sin().to(kind(device))

    def slices(self, label):
        """The outputs of the projections that are stacked in one product."""
        s = self.s
        kv = s["kv_heads"] * s["head_dim"]
        return {"qkv": [s["heads"] * s["head_dim"], kv, kv], "o": [s["hidden"]], "gate_up": [s["inner"]] * 2, "down": [s["hidden"]]}[label]

    def project(self, layer, label, x, adapters):
        y = F.linear(x, self.layers[layer][label])
        if adapters:
            adapters.add(layer, label, x, y)
        return y

    def forward(self, tokens, attention, adapters=None):
        """Hidden states [row][column] after the last layer; attention(layer, q, k, v) takes and gives [row][head][column]."""
        s = self.s
        x = self.table[tokens]
        normed = norm(x, self.layers[0]["qkv_norm"])
        for i, layer in enumerate(self.layers):
            qkv = self.project(i, "qkv", normed, adapters).view(len(tokens), -1, s["head_dim"])
            q, k, v = qkv.split([s["heads"], s["kv_heads"], s["kv_heads"]], 1)
            mixed = attention(i, self.turn(q, self.cos, self.sin), self.turn(k, self.cos, self.sin), v)
            x, normed = self.add_norm(x, self.project(i, "o", mixed.reshape(len(tokens), -1), adapters), layer["gate_up_norm"])
            inner = self.gated(self.project(i, "gate_up", normed, adapters))
            following = self.layers[i + 1]["qkv_norm"] if i + 1 < len(self.layers) else self.final_norm
            x, normed = self.add_norm(x, self.project(i, "down", inner, adapters), following)
        return normed


class Adapters:
    """Random adapters on all projections, and the rows that each has."""

    def __init__(self, model, count, tokens):
        device = model.device
        self.segments = lora.Segments(device, lora.spread_rows(tokens, count))
        self.weights, self.ends, self.widest, self.hidden = [], {}, {}, {}
        for label, _, inputs in products(model.s)[:4]:
            slices = model.slices(label)
            ends = [sum(slices[:i]) for i in range(len(slices) + 1)]
            self.ends[label], self.widest[label] = torch.tensor(ends, dtype=torch.int32, device=device), max(slices)
            self.hidden[label] = torch.empty(tokens, len(slices) * RANK, device=device, dtype=kind(device))
        for _ in model.layers:
            self.weights.append({
                label: (
                    random(device, count, len(model.slices(label)) * RANK, inputs, spread=1 / 64),
                    random(device, count, sum(model.slices(label)), RANK, spread=1 / 64),
                )
                for label, _, inputs in products(model.s)[:4]
            })

    def add(self, layer, label, x, y):
        a, b = self.weights[layer][label]
        lora.shrink(x, a, self.hidden[label], self.segments, CUT)
        lora.expand(self.hidden[label], b, y, self.segments, self.ends[label], self.widest[label], 1.0, CUT)


def run(s, device, tiny, results):
    batches, most, context = ([1, 3], [0, 1, 2], 20) if tiny else (BATCHES, ADAPTERS, CONTEXT)
    prompts, prompt = (2, 24) if tiny else (PROMPTS, PROMPT)
    decodes = [(b, n) for b in batches for n in most if n <= b and results.wanted(f"step/batch={b}/context={context}/adapters={n}")]
    prefills = results.wanted(f"prefill/prompts={prompts}/tokens={prompt}")
    if not decodes and not prefills:
        return
    model = Model(s, device, tiny)
    with torch.no_grad(), flash(device):
        for batch, adapters in decodes:
            decode(model, results, batch, adapters, context)
        if prefills:
            prefill(model, results, prompts, prompt)


def decode(model, results, batch, adapters, context):
    s, device = model.s, model.device
    cache = [tuple(random(device, batch, s["kv_heads"], context + 1, s["head_dim"]) for _ in "kv") for _ in model.layers]
    tokens = torch.randint(s["vocab"], (batch,), device=device)
    chosen = Adapters(model, adapters, batch) if adapters else None

    def attention(layer, q, k, v):
        keys, values = cache[layer]
        keys[:, :, context], values[:, :, context] = k, v
        return attend(q[:, :, None], keys, values, False)[:, :, 0]

    def step():
        tokens.copy_(F.linear(model.forward(tokens, attention, chosen), model.head).argmax(-1))

    name = f"step/batch={batch}/context={context}/adapters={adapters}"
    step()
    check(name, model, cache, chosen, tokens.clone(), context)
    samples = microseconds(step, [()])
    weights = sum(t.numel() for layer in model.layers for t in layer.values()) + model.head.numel()
    keys = 2 * len(model.layers) * batch * s["kv_heads"] * context * s["head_dim"]
    extra = sum(t.numel() for layer in chosen.weights for pair in layer.values() for t in pair) if chosen else 0
    results.add(name, samples, 2 * (weights + keys + extra))


def check(name, model, cache, adapters, tokens, context):
    """The step's first layer, once more in float64, for the first row."""
    s = model.s
    seen = {}

    def attention(layer, q, k, v):
        if layer > 0:
            return q
        keys, values = (t.clone() for t in cache[0])
        keys[:, :, context], values[:, :, context] = k, v
        seen["got"] = attend(q[:, :, None], keys, values, False)[0]
        seen["exact"] = exact(seen["q"], keys[0], values[0], context)
        return q

    x = model.table[tokens[:1]].double()
    normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)
    qkv = normed @ model.layers[0]["qkv"].double().T
    if adapters:
        a, b = (t[0].double() for t in adapters.weights[0]["qkv"])
        hidden = (normed @ a.T).split(RANK, -1)
        qkv = qkv + torch.cat([h @ part.T for h, part in zip(hidden, b.split(model.slices("qkv")))], -1)
    q = qkv.view(-1, s["head_dim"])[: s["heads"]]
    seen["q"] = turn(q, model.cos.double(), model.sin.double())[:, None]
    model.forward(tokens, attention, adapters)
    close(name, seen["got"], seen["exact"], 5e-2)


def prefill(model, results, prompts, length):
    s, device = model.s, model.device
    tokens = torch.randint(s["vocab"], (prompts * length,), device=device)

    def attention(layer, q, k, v):
        q, k, v = (t.reshape(prompts, length, -1, s["head_dim"]).transpose(1, 2) for t in (q, k, v))
        return attend(q, k, v, True).transpose(1, 2).reshape(prompts * length, -1)

    def step():
        last = model.forward(tokens, attention).view(prompts, length, -1)[:, -1]
        return F.linear(last, model.head).argmax(-1)

    samples = microseconds(step, [()])
    work = 2 * prompts * length * sum(layer[label].numel() for layer in model.layers for label in ("qkv", "o", "gate_up", "down"))
    work += 2 * prompts * length * (length + 1) * s["heads"] * s["head_dim"] * len(model.layers)
    results.add(f"prefill/prompts={prompts}/tokens={length}", samples, 0, work)
