"""The table of live parity: in the terminal, and in docs/PARITY.md between two markers."""

import math

LIMIT = 1.0  # Lorikeet's error may be this many times PyTorch's
BEGIN, END = "<!-- live parity: begin -->", "<!-- live parity: end -->"

INTRODUCTION = """Written by `make parity-live` on a CUDA host with a Vulkan driver: PyTorch and Lorikeet on the same GPU in one run, at Llama-3.1-8B's shapes,
from the same fresh random inputs. An operator's error is ‖y - exact‖ / ‖exact‖ against float64 arithmetic on the same bf16 inputs, PyTorch's in bf16.
A model's is the root mean square difference of log probabilities, {ids} of them at every position, against transformers and PEFT in
float32; PyTorch's own is theirs in bf16. The prompt runs in chunks, the greedy steps one by one. Lorikeet's error may not be larger than
{limit:g} times PyTorch's, and a greedy token may differ from float32's only where its lead is within twice the largest error."""


class Table:
    """Rows of errors; failed lists what is wrong with them."""

    def __init__(self):
        self.lines, self.failed = [], []

    def head(self, *columns):
        self.lines += ["", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]

    def row(self, name, theirs, ours, *more):
        """PyTorch's error and Lorikeet's, one per variant; None where a variant does not run."""
        for variant, error in ours.items():
            if error is not None and not error <= LIMIT * theirs:
                self.failed.append(f"{name}: {variant} is off by {error:.3g}, PyTorch by {theirs:.3g}")
        cells = [name, f"{theirs:.2g}"] + ["" if e is None else f"{e:.2g} ({e / theirs:.2g}x)" for e in ours.values()]
        self.lines.append("| " + " | ".join([*cells, *more]) + " |")


def operators(table, theirs, measured):
    """Rows of PyTorch's errors and those that the kernels left, both by case and output."""
    variants = list(measured["variants"])
    table.head("operator", "PyTorch, bf16", *(f"Lorikeet, {v}" for v in variants))
    for case, outputs in theirs.items():
        for output, error in outputs.items():
            name = case if len(outputs) == 1 else f"{case}/{output}"
            table.row(name, error, {v: measured["variants"][v].get(case, {}).get(output, math.inf) for v in variants})


def models(table, answers, rows, agree, prompt):
    """Rows of each adapter's prompt and greedy steps."""
    table.head("model", "PyTorch, bf16", "Lorikeet", "greedy tokens as in float32: PyTorch, Lorikeet")
    for name, answer in answers.items():
        exact, theirs, ours = answer["exact"], answer["pytorch"], rows[name]
        steps = len(exact) - prompt + 1
        for part, where in (("prompt", slice(0, prompt - 1)), ("steps", slice(prompt - 1, None))):
            tokens = ""
            if part == "steps":
                equal = sum(a == b for a, b in zip(answer["likeliest"][where], answer["tokens"][prompt:]))
                tokens = f"{equal}, {sum(agree[name])} of {steps}"
            table.row(f"{name}, {part}", spread(theirs[where] - exact[where]), {"the model": spread(ours[where] - exact[where])}, tokens)


def spread(difference):
    return difference.square().mean().sqrt().item()


def publish(path, heading, text):
    """Replace what is between the markers of a document."""
    old = path.read_text()
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path}: no {BEGIN} with {END} behind it")
    path.write_text(f"{before}{begin}\n## {heading}\n\n{text}\n{end}{after}")
