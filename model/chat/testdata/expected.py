#!/usr/bin/env python3
"""Writes expected.json: what Jinja2 makes of the templates and snippets here, set up as transformers' apply_chat_template sets it up.

apt-get install python3-jinja2; run without arguments.
"""

import datetime
import glob
import json
import os

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

NOW = datetime.datetime(2024, 3, 5, 7, 8, 9)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("body"), [], [], body).set_lineno(line)

    def body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = NOW.strftime


def render(template, conversation):
    """The text, or the message of raise_exception, or that rendering fails otherwise."""
    values = {"tools": None, "documents": None, **TOKENS, **conversation.get("variables", {})}
    values["messages"] = conversation["messages"]
    values["add_generation_prompt"] = conversation.get("add_generation_prompt", False)
    try:
        return {"text": env.from_string(template).render(**values)}
    except jinja2.exceptions.TemplateError as error:
        if type(error) is jinja2.exceptions.TemplateError:
            return {"raised": str(error)}
        return {"failed": True}
    except Exception:
        return {"failed": True}


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    read = lambda name: open(os.path.join(folder, name), newline="").read()
    conversations, snippets = json.loads(read("conversations.json")), json.loads(read("snippets.json"))
    templates = sorted(os.path.basename(path) for path in glob.glob(os.path.join(folder, "*.jinja")))
    expected = {
        "templates": {t: {name: render(read(t), c) for name, c in conversations.items()} for t in templates},
        # Whether Jinja renders what Lorikeet says that it does not know how to.
        "refused": ["text" in render(s, {"messages": [], "variables": snippets["variables"]}) for s in snippets["refused"]],
        "snippets": [render(s, {"messages": [], "variables": snippets["variables"]}) for s in snippets["snippets"]],
    }
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(expected, file, ensure_ascii=False, indent=1)
        file.write("\n")


main()
