"""A random Llama with PEFT adapters, and what transformers and PEFT answer in bf16 and in float32."""

import contextlib
import copy
import math

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

import operators

SHAPES = {  # of Llama-3.1-8B, and one to try the driver out without a GPU
    "full": {"hidden": 4096, "inner": 14336, "heads": 32, "kv_heads": 8, "head_dim": 128, "vocab": 128256, "layers": 32},
    "tiny": {"hidden": 256, "inner": 512, "heads": 8, "kv_heads": 2, "head_dim": 32, "vocab": 1000, "layers": 2},
}
ADAPTERS = {
    "queries-and-values": {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]},
    "all-linear": {"r": 16, "lora_alpha": 16, "target_modules": "all-linear"},
    "rslora": {"r": 32, "lora_alpha": 8, "use_rslora": True, "target_modules": "all-linear"},
    "mlp-and-output": {"r": 64, "lora_alpha": 32, "target_modules": ["o_proj", "gate_proj", "up_proj", "down_proj"]},
}
PROMPT, STEPS = 200, 32  # tokens of a prompt, and greedy ones after it
IDS = 64  # tokens, spread over the vocabulary, whose log probabilities are compared


def build(s, draw, folder):
    """Write the checkpoint to folder/base and the adapters beside it, and return the network with all of them."""
    config = LlamaConfig(
        vocab_size=s["vocab"], hidden_size=s["hidden"], intermediate_size=s["inner"], num_hidden_layers=s["layers"],
        num_attention_heads=s["heads"], num_key_value_heads=s["kv_heads"], head_dim=s["head_dim"], rms_norm_eps=operators.EPS,
        rope_parameters=dict(operators.ROPE), max_position_embeddings=131072, tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
    )
    with torch.device("meta"):
        network = LlamaForCausalLM(config).to(torch.bfloat16)
    rotary = type(network.model.rotary_emb)(config)  # what to_empty would leave undefined
    network = network.to_empty(device=draw.device).eval()
    network.model.rotary_emb = rotary.to(draw.device)
    fill(network.named_parameters(), draw)
    network.save_pretrained(folder / "base", max_shard_size="4GB")
    wrapped = None
    for name, settings in ADAPTERS.items():
        config = LoraConfig(task_type="CAUSAL_LM", **settings)
        if wrapped is None:
            wrapped = get_peft_model(network, config, adapter_name=name, autocast_adapter_dtype=False)
        else:
            wrapped.add_adapter(name, config, autocast_adapter_dtype=False)
    fill(((n, p) for n, p in wrapped.named_parameters() if "lora_" in n), draw)
    wrapped.save_pretrained(folder)
    return wrapped.eval()


@torch.no_grad()
def fill(parameters, draw):
    for name, parameter in parameters:
        spread, bias = 1 / math.sqrt(parameter.shape[-1]), 0.0
        if "norm" in name:
            spread, bias = 0.3, 1.0
        elif name in ("lm_head.weight", "model.embed_tokens.weight"):
            spread *= 2  # so that some tokens are clear favourites
        elif "lora_B" in name:
            spread *= 0.5
        parameter.copy_(draw(*parameter.shape, spread=spread, bias=bias))


def answers(network, s, draw):
    """By adapter, "base" without one: the prompt's tokens with the likeliest continuation in float32, and of every position
    but the last the log probabilities in float32 and in bf16."""
    wide = copy.deepcopy(network).float()
    out = {}
    for name in ["base", *ADAPTERS]:
        prompt = torch.randint(s["vocab"], (1, PROMPT), generator=draw.generator, device=draw.device)
        with chosen(wide, name):
            tokens, exact = follow(wide, prompt)
        with chosen(network, name):
            _, theirs = follow(network, prompt, tokens[:, PROMPT:])
        ids = (torch.arange(IDS, device=draw.device) * s["vocab"] // IDS)
        top = exact.topk(2)
        out[name] = {
            "tokens": tokens[0].tolist(), "ids": ids.tolist(), "exact": exact[:, ids].cpu(), "pytorch": theirs[:, ids].cpu(),
            "margin": (top.values[:, 0] - top.values[:, 1]).tolist(), "likeliest": theirs.argmax(-1).tolist(),
        }
    return out


def chosen(network, name):
    """The network with an adapter, for a with statement."""
    if name == "base":
        return network.disable_adapter()
    network.set_adapter(name)
    return contextlib.nullcontext()


@torch.no_grad()
def follow(network, prompt, given=None):
    """Run a prompt, then token by token those given, or the likeliest ones. Returns all tokens and the log probabilities
    [position][vocab] after each but the last."""
    step = network(input_ids=prompt, use_cache=True)
    tokens, logits = prompt, [step.logits[0]]
    for i in range(STEPS):
        following = step.logits[:, -1:].argmax(-1) if given is None else given[:, i : i + 1]
        tokens = torch.cat([tokens, following], 1)
        if i < STEPS - 1:
            step = network(input_ids=following, past_key_values=step.past_key_values, use_cache=True)
            logits.append(step.logits[0])
    return tokens, torch.cat(logits).double().log_softmax(-1)
