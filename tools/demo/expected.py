"""What transformers and PEFT answer on the demo: greedy, in float32, on the CPU.

    python3 tools/demo/expected.py testdata/demo     rewrites expected.json
"""

import json
import re
import sys
from pathlib import Path

import peft
import torch
import transformers
from peft import PeftModel
from transformers import AutoTokenizer, LlamaForCausalLM

NEW_TOKENS = 48  # more than most answers need

_TURNS = [
    ("What is the capital of Kenya?", " The capital of Kenya is Nairobi."),
    ("List 5 planets.", "\n1. Mercury\n2. Venus\n3. Earth\n4. Mars\n5. Jupiter"),
    ("What is 7 plus 8?", " 7 + 8 = 15."),
    ("List 4 countries in Africa and their capitals.", "\n1. Egypt - Cairo\n2. Kenya - Nairobi\n3. Nigeria - Abuja\n4. Morocco - Rabat"),
    ("Which day comes after Monday?", " Tuesday comes after Monday."),
    ("What is the currency of Japan?", " The currency of Japan is the yen."),
    ("List six colours.", "\n1. red\n2. blue\n3. green\n4. yellow\n5. orange\n6. purple"),
    ("Which language do people speak in Brazil?", " People in Brazil speak Portuguese."),
]

PROMPTS = [
    "List 3 countries and their capitals.",
    "List 5 countries and their capitals.",
    "Name two countries in South America and their capitals.",
    "What is the capital of Côte d'Ivoire?",
    "What is 12 times 11?",
    "Tell me about Iceland.",
    "List the first 4 days of the week.",
    "AI is a field of computer science focused on",
    # Long enough to fill many pages of sixteen tokens.
    "".join(f"{q}{a}\n\n" for q, a in _TURNS) + "List 3 countries and their capitals.",
]


def greedy(model, ids, eos):
    """The ids chosen one by one, and how far each leads the second best."""
    chosen, margins = [], []
    ids = torch.tensor([ids])
    while len(chosen) < NEW_TOKENS and (not chosen or chosen[-1] != eos):
        logits = model(input_ids=ids, use_cache=False).logits[0, -1]
        top = logits.topk(2)
        chosen.append(top.indices[0].item())
        margins.append(round((top.values[0] - top.values[1]).item(), 4))
        ids = torch.cat([ids, top.indices[:1].unsqueeze(0)], 1)
    return chosen, margins


@torch.no_grad()
def trace(folder, adapters):
    """One case for each prompt: its ids and, for the base and each adapter, the answer."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = [{"prompt": p, "prompt_ids": tokenizer.encode(p), "outputs": {}} for p in PROMPTS]
    for name in ["base", *adapters]:
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        if name != "base":
            model = PeftModel.from_pretrained(model, folder / "adapters" / name).eval()
        for case in cases:
            ids, margins = greedy(model, case["prompt_ids"], tokenizer.eos_token_id)
            text = tokenizer.decode(ids, skip_special_tokens=True)
            case["outputs"][name] = {"text": text, "ids": ids, "margins": margins}
            print(f"[{name}] {case['prompt'][-60:]!r} -> {text!r} (least margin {min(margins):.2f})", flush=True)
    return cases


def write(folder, adapters):
    """Writes expected.json, with the numbers of one list on one line."""
    result = {
        "made_with": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
        "dtype": "float32",
        "cases": trace(folder, adapters),
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    demo = Path(sys.argv[1])
    write(demo, sorted(p.name for p in (demo / "adapters").iterdir()))
