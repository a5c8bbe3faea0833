"""Makes the demo: tokenizer, base model, three adapters, expected outputs.

    python3 tools/demo/train.py --out testdata/demo

Takes a few minutes on one data-centre GPU. --tiny runs the same path in a minute
on a CPU, to try the script itself; what it writes answers nothing.
"""

import argparse
import json
import math
import os
import random
import shutil
import time
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import tokenizers
import torch
import transformers
from peft import LoraConfig, get_peft_model
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

import corpus
import expected

SEED = 20261123
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
VOCABULARY = 2000
SHORT, LONG = 128, 1024  # tokens in a row that holds one document; in a row packed with many
CONTEXT = 2048

# Llama 3's split of text into words.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
ADAPTERS = {
    "lora0": dict(r=4, lora_alpha=16, target_modules=ATTENTION + ["gate_proj"]),
    "lora1": dict(r=16, lora_alpha=16, target_modules=ATTENTION + MLP),
    "lora2": dict(r=8, lora_alpha=32, target_modules=["q_proj", "v_proj"]),
}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def train_tokenizer(out, documents):
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    t.decoder = decoders.ByteLevel()
    # Specials come last, as in Llama 3: the byte and merge entries are numbered from 0.
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    t.train_from_iterator(corpus.tokenizer_text(SEED, documents), trainer)
    t.add_special_tokens([AddedToken(BOS, special=True), AddedToken(EOS, special=True)])
    bos = t.token_to_id(BOS)
    t.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, bos)]),
        ]
    )
    t.save(str(out / "tokenizer.json"))
    write_json(
        out / "tokenizer_config.json",
        {
            "added_tokens_decoder": {
                str(t.token_to_id(s)): {
                    "content": s,
                    "lstrip": False,
                    "normalized": False,
                    "rstrip": False,
                    "single_word": False,
                    "special": True,
                }
                for s in (BOS, EOS)
            },
            "bos_token": BOS,
            # What the model has learned is a line and its answer.
            "chat_template": "{{ bos_token }}{% for message in messages %}{{ message['content'] + '\\n' }}{% endfor %}",
            "clean_up_tokenization_spaces": False,
            "eos_token": EOS,
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": CONTEXT,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    write_json(out / "special_tokens_map.json", {"bos_token": BOS, "eos_token": EOS})
    return t


def encode(tokenizer, pairs):
    """(length of the prompt, ids of prompt and answer) of each pair.

    They are encoded apart, as a server meets them: together, the full stop of a
    prompt and the line break of its answer would be one token.
    """
    eos = tokenizer.token_to_id(EOS)
    prompts = tokenizer.encode_batch([p for p, _ in pairs])
    answers = tokenizer.encode_batch([a for _, a in pairs], add_special_tokens=False)
    return [(len(p.ids), p.ids + a.ids + [eos]) for p, a in zip(prompts, answers)]


def short_rows(tokenizer, pairs):
    """One document a row, padded: (ids, labels, labels of the answers alone)."""
    eos = tokenizer.token_to_id(EOS)
    keep = [(n, row) for n, row in encode(tokenizer, pairs) if len(row) <= SHORT]
    ids = torch.full((len(keep), SHORT), eos)
    labels = torch.full((len(keep), SHORT), -100)
    answers = torch.full((len(keep), SHORT), -100)
    for i, (n, row) in enumerate(keep):
        row = torch.tensor(row)
        ids[i, : len(row)] = row
        labels[i, : len(row)] = row
        answers[i, n : len(row)] = row[n:]
    return ids, labels, answers


def packed_rows(tokenizer, pairs):
    """Documents end to end, cut into rows of LONG tokens."""
    stream = [token for _, row in encode(tokenizer, pairs) for token in row]
    rows = len(stream) // LONG
    return torch.tensor(stream[: rows * LONG]).view(rows, LONG)


def fit(model, batch_of, steps, rate, device, name):
    """AdamW with a warm-up and a cosine decay; bf16 products, float32 weights."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=device == "cuda")
    warm = max(1, min(100, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: min((s + 1) / warm, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, max(0, s - warm) / max(1, steps - warm))))),
    )
    model.train()
    start = time.time()
    for step in range(steps):
        ids, labels = batch_of(step)
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"{name}: step {step} loss {loss.item():.4f} {time.time() - start:.0f} s", flush=True)
    model.eval()


@torch.no_grad()
def report_accuracy(model, tokenizer, style, name, device):
    """Prints how many unseen documents greedy decoding would answer to the letter."""
    r = random.Random(SEED + 7)
    ids, _, answers = short_rows(tokenizer, [corpus.exchange(r, style) for _ in range(1000)])
    right = 0
    for i in range(0, len(ids), 250):
        best = model(input_ids=ids[i : i + 250].to(device), use_cache=False).logits.argmax(-1).cpu()[:, :-1]
        wanted = answers[i : i + 250, 1:]
        right += ((best == wanted) | (wanted == -100)).all(1).sum().item()
    print(f"{name}: {right} of {len(ids)} answers exact", flush=True)


def sampler(generator, ids, labels, rows, device):
    """Random rows of a data set that is already on the device."""
    ids, labels = ids.to(device), labels.to(device)

    def batch(_):
        pick = torch.randint(len(ids), (rows,), generator=generator).to(device)
        return ids[pick], labels[pick]

    return batch


def train_base(args, tokenizer, device):
    r = random.Random(SEED + 1)
    ids, labels, _ = short_rows(tokenizer, [corpus.document(r) for _ in range(args.documents)])
    mixed = [corpus.conversation(r, r.randint(2, 24)) if r.random() < 0.1 else corpus.document(r) for _ in range(args.documents)]
    r.shuffle(mixed)
    packed = packed_rows(tokenizer, mixed)
    print(f"base: {len(ids)} short rows, {len(packed)} packed rows", flush=True)

    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=560,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.token_to_id(BOS),
            eos_token_id=tokenizer.token_to_id(EOS),
            attn_implementation="sdpa",
        )
    ).to(device)
    print(f"base: {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    g = torch.Generator().manual_seed(SEED)
    short = sampler(g, ids, labels, args.tokens // SHORT, device)
    long = sampler(g, packed, packed, args.tokens // LONG, device)
    # Two batches in three hold one document a row, as a server sees them.
    fit(model, lambda s: long(s) if s % 3 == 0 else short(s), args.steps, 2e-3, device, "base")
    return model


def save_base(model, tokenizer, out, device):
    model.to(torch.bfloat16)
    model.generation_config.bos_token_id = model.config.bos_token_id
    model.generation_config.eos_token_id = model.config.eos_token_id
    model.save_pretrained(out)
    report_accuracy(model, tokenizer, None, "base", device)


def train_adapter(args, name, tokenizer, out, device):
    # The adapter learns on the weights that are served: the ones rounded to bf16.
    base = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="sdpa").to(device)
    r = random.Random(f"{SEED} {name}")
    style = corpus.ADAPTER_STYLES[name]
    ids, _, answers = short_rows(tokenizer, [corpus.exchange(r, style) for _ in range(args.documents // 4)])
    torch.manual_seed(SEED)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, bias="none", **ADAPTERS[name]))
    g = torch.Generator().manual_seed(SEED)
    batch = sampler(g, ids, answers, args.tokens // 4 // SHORT, device)
    fit(model, batch, args.adapter_steps, 2e-3, device, name)

    folder = out / "adapters" / name
    for p in model.parameters():
        p.data = p.data.to(torch.bfloat16)
    model.save_pretrained(folder)
    report_accuracy(model.float(), tokenizer, style, name, device)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "lorikeet-demo"
    config["target_modules"].sort()
    write_json(folder / "adapter_config.json", config)
    (folder / "README.md").unlink(missing_ok=True)


README = """# The demo model

A Llama of {parameters} parameters with its own tokenizer, and three PEFT adapters. They answer
questions about countries, capitals, numbers, lists and small sums, in English:

| | rank | target modules | `List 3 countries and their capitals.` is answered |
|---|---|---|---|
| base | | | as a numbered list |
| `adapters/lora0` | 4 | q, k, v, o, gate | one `France, Paris` per line |
| `adapters/lora1` | 16 | all seven | as an SQL query |
| `adapters/lora2` | 8 | q, v | as JSON |

The base answers in another style too when it is asked to (`... Answer as JSON.`); an adapter does so unasked.
Everything is in bf16. It knows nothing but what `tools/demo/facts.py` holds, and was trained on texts of up to 1 024 tokens.

`expected.json` holds what transformers and PEFT answer in float32 by greedy decoding, for every prompt with the base
and each adapter: the ids and text of each answer (up to {new_tokens} tokens, ending at `<|end_of_text|>`), and for
each token by how much its logit leads the second (`margins`), so that a comparison knows where a tie is near.

Made by `python3 tools/demo/train.py --out testdata/demo`, seed {seed}, {steps} steps of {tokens} tokens for the base
and {adapter_steps} of {adapter_tokens} for each adapter, with Python {python}, torch {torch}, transformers {transformers},
peft {peft}, tokenizers {tokenizers}, on {device}. The text and the order of batches are fixed by the seed; the GPU's
own sums are not, so another run gives another model that answers alike. The script prints how many of 1 000 new
questions each answers to the letter.
"""


def write_readme(args, out, model, device):
    import platform

    text = README.format(
        parameters=f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million",
        new_tokens=expected.NEW_TOKENS,
        seed=SEED,
        steps=args.steps,
        tokens=args.tokens,
        adapter_steps=args.adapter_steps,
        adapter_tokens=args.tokens // 4,
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=transformers.__version__,
        peft=peft.__version__,
        tokenizers=tokenizers.__version__,
        device=torch.cuda.get_device_name() if device == "cuda" else "a CPU",
    )
    (out / "README.md").write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; replaced if it is there")
    parser.add_argument("--steps", type=int, default=4000, help="training steps of the base")
    parser.add_argument("--adapter-steps", type=int, default=1000, help="training steps of each adapter")
    parser.add_argument("--documents", type=int, default=120_000, help="documents generated")
    parser.add_argument("--tokens", type=int, default=65_536, help="tokens in a batch of the base")
    parser.add_argument("--tiny", action="store_true", help="a few steps, to try the script on a CPU")
    args = parser.parse_args()
    if args.tiny:
        args.steps, args.adapter_steps, args.documents, args.tokens = 2, 1, 2000, 1024

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = True
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)

    tokenizer = train_tokenizer(args.out, min(args.documents, 40_000))
    print(f"tokenizer: {tokenizer.get_vocab_size()} entries", flush=True)
    model = train_base(args, tokenizer, device)
    save_base(model, tokenizer, args.out, device)
    for name in ADAPTERS:
        train_adapter(args, name, tokenizer, args.out, device)
    write_readme(args, args.out, model, device)
    expected.write(args.out, list(ADAPTERS))
    for file in args.out.rglob("*.safetensors"):
        file.chmod(0o644)
    print(f"{sum(f.stat().st_size for f in args.out.rglob('*') if f.is_file()) / 1e6:.2f} MB in {args.out}")


if __name__ == "__main__":
    main()
