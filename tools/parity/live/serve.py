"""Lorikeet, serving the model, and what it answers."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

READY = 120  # seconds until the server has to be there


class Server:
    """A running lorikeet; leave the with statement to end it."""

    def __init__(self, binary, folder, adapters, log, arguments):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{s.getsockname()[1]}"
        command = [binary, "serve", "--model-path", folder / "base", "--port", self.address.rpartition(":")[2], *arguments]
        for name in adapters:
            command += ["--lora-paths", f"{name}={folder / name}"]
        self.log = log
        self.process = subprocess.Popen([str(word) for word in command], stdout=log.open("w"), stderr=subprocess.STDOUT)

    def __enter__(self):
        end = time.monotonic() + READY
        while True:
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise SystemExit(f"lorikeet is not ready:\n{self.log.read_text()[-4000:]}")
            try:
                with urllib.request.urlopen(self.address + "/health"):
                    return self
            except urllib.error.URLError:
                time.sleep(0.1)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def generate(self, adapters, prompts, lengths, ids):
        """Greedy continuations of prompts in one batch, with the log probabilities of ids after every token."""
        body = {
            "input_ids": prompts, "lora_path": [None if a == "base" else a for a in adapters],
            "sampling_params": [{"temperature": 0, "max_new_tokens": n, "ignore_eos": True} for n in lengths],
            "return_logprob": True, "logprob_start_len": 0, "token_ids_logprob": ids,
        }
        request = urllib.request.Request(self.address + "/generate", json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            raise SystemExit(f"lorikeet answered {e.code}: {e.read().decode()}") from e


def follow(server, answers, prompt):
    """By adapter, the log probabilities [position][id] along the answers' tokens, and of each greedy step whether it agrees
    with them. Where a choice differs, the run goes on from the answer's token."""
    rows = {name: [] for name in answers}
    agree = {name: [] for name in answers}
    open_ = list(answers)
    while open_:
        tokens = {name: answers[name]["tokens"] for name in open_}
        at = {name: max(prompt, len(rows[name]) + 1) for name in open_}
        results = server.generate(
            open_, [tokens[n][: at[n]] for n in open_], [len(tokens[n]) - at[n] for n in open_], [answers[n]["ids"] for n in open_]
        )
        for name, result in zip(open_, results):
            meta = result["meta_info"]
            if not rows[name]:
                rows[name] = [values(entry) for entry in meta["input_token_ids_logprobs"][1:]]
            for token, entry, expected in zip(result["output_ids"], meta["output_token_ids_logprobs"], tokens[name][at[name] :]):
                rows[name].append(values(entry))
                agree[name].append(token == expected)
                if token != expected:
                    break
        open_ = [n for n in open_ if len(rows[n]) < len(answers[n]["tokens"]) - 1]
    return rows, agree


def values(entry):
    return [logprob for logprob, _, _ in entry]
