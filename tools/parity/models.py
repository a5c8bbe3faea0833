"""Tiny random Llamas with PEFT adapters: checkpoints, adapters, and what transformers and PEFT answer on the device."""

import json
import math
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

import inputs

PROMPT, STEPS = 37, 16  # tokens of a prompt, and greedy ones after it
TOP, IDS = 2, 16  # the likeliest tokens, and those spread over the vocabulary, that are kept of every position


def run(seed, entry, adapters, version, device, folder):
    """Write a model's folder: the checkpoint, one folder per adapter, and expected.safetensors with the answers of the
    model without and with each adapter."""
    seed = f"{seed}/{entry['model']}"
    write_base(seed, entry, folder)
    tensors = answers(seed, entry, "base", folder, None, device)
    for adapter in adapters:
        if adapter["adapter"] in entry.get("adapters", [adapter["adapter"]]):
            write_adapter(seed, entry, adapter, folder)
            tensors |= answers(seed, entry, adapter["adapter"], folder, adapter, device)
    save_file(tensors, folder / "expected.safetensors", metadata={"version": str(version)})


def write_base(seed, entry, folder):
    shape = {key: entry[key] for key in entry if key not in ("model", "type", "rope", "adapters", "limit", "limit coop")}
    config = LlamaConfig(
        **shape, rope_parameters=dict(entry["rope"]), max_position_embeddings=512, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=1
    )
    network = LlamaForCausalLM(config).to(inputs.TYPES[entry["type"]])
    fill(network.named_parameters(), seed, entry["type"])
    network.save_pretrained(folder)


def write_adapter(seed, entry, adapter, folder):
    """Write random weights, in the model's type or in float32, as PEFT saves them."""
    wide = adapter.get("float32", False)
    network = load(entry, folder, inputs.TYPES[entry["type"]], "cpu")
    network = get_peft_model(network, LoraConfig(task_type="CAUSAL_LM", **adapter["peft"]), autocast_adapter_dtype=wide)
    lora = [(name, parameter) for name, parameter in network.named_parameters() if "lora_" in name]
    fill(lora, f"{seed}/{adapter['adapter']}", "f32" if wide else entry["type"])
    place = folder / "adapters" / adapter["adapter"]
    network.save_pretrained(place, save_embedding_layers=False)
    (place / "README.md").unlink(missing_ok=True)
    config = json.loads((place / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = entry["model"]
    for key in ("target_modules", "exclude_modules"):  # PEFT saves sets in an order of their own
        if isinstance(config[key], list):
            config[key].sort()
    (place / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def fill(parameters, prefix, kind):
    """Draw parameters by their names."""
    for name, parameter in parameters:
        spread, bias = 1 / math.sqrt(parameter.shape[-1]), 0.0
        if "norm" in name:
            spread, bias = 0.3, 1.0
        elif name in ("lm_head.weight", "model.embed_tokens.weight"):
            spread *= 2  # so that some tokens are clear favourites
        elif "lora_B" in name or "lora_embedding" in name:
            spread = 0.15
        parameter.copy_(inputs.values(f"{prefix}/{name}", tuple(parameter.shape), kind, spread, bias))


def load(entry, folder, compute, device):
    attention = "eager" if compute == torch.float32 and entry["type"] != "f32" else "sdpa"
    return LlamaForCausalLM.from_pretrained(folder, dtype=compute, attn_implementation=attention).to(device).eval()


def answers(seed, entry, name, folder, adapter, device):
    """The tensors "name/cuda/..." in the checkpoint's type, and "name/cuda f32/..." computed in float32."""
    prompt = inputs.below(f"{seed}/{name}/prompt", (1, PROMPT), entry["vocab_size"])
    out = {}
    for label, kind in (("cuda", entry["type"]), ("cuda f32", "f32")):
        if label == "cuda f32" and entry["type"] == "f32":
            break
        network = load(entry, folder, inputs.TYPES[kind], device)
        if adapter:
            network = PeftModel.from_pretrained(network, folder / "adapters" / name, autocast_adapter_dtype=adapter.get("float32", False)).eval()
        tokens, logits = greedy(network, prompt.to(device))
        out |= {f"{name}/{label}/{key}": tensor for key, tensor in describe(tokens, logits.cpu(), entry["vocab_size"]).items()}
    return out


@torch.no_grad()
def greedy(network, prompt):
    """The prompt with the likeliest continuation, and the logits after every token but the last."""
    step = network(input_ids=prompt, use_cache=True)
    tokens, logits = prompt, [step.logits[0]]
    for i in range(STEPS):
        tokens = torch.cat([tokens, step.logits[:, -1:].argmax(-1)], 1)
        if i < STEPS - 1:
            step = network(input_ids=tokens[:, -1:], past_key_values=step.past_key_values, use_cache=True)
            logits.append(step.logits[0])
    return tokens[0].cpu(), torch.cat(logits)


def describe(tokens, logits, vocab):
    """What is kept of [position][vocab] logits: natural log probabilities of the next token, of the likeliest two, and
    of some spread over the vocabulary; and which token is the likeliest."""
    logprobs = logits.double().log_softmax(-1)
    top = logprobs.topk(TOP)
    ids = torch.arange(IDS) * vocab // IDS
    return {
        "tokens": tokens.int(),
        "next": logprobs.gather(1, tokens[1:, None])[:, 0].float(),
        "likeliest": top.indices[:, 0].int(),
        "top": top.values.float().contiguous(),
        "ids": logprobs[:, ids].float().contiguous(),
    }


warnings.filterwarnings("ignore", module="peft")  # of tied weights and of layers without names, both meant here
