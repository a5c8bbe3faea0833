"""Generates the text that the demo model and its adapters are trained on.

A Question knows its prompts and its answer in four styles: the base's own, and
one for each adapter. The base sees the other styles only when a prompt asks for
them (`... Answer as JSON.`); an adapter answers in its style unasked.
"""

import json
import random
from dataclasses import dataclass

from facts import CONTINENTS, COUNTRIES, DAYS, DEFINITIONS, LISTS, MONTHS, NUMBERS

BASE, LINES, SQL, JSON = "base", "lines", "sql", "json"
ADAPTER_STYLES = {"lora0": LINES, "lora1": SQL, "lora2": JSON}

# How a prompt asks the base for another style.
_REQUESTS = {
    LINES: ["Answer one per line.", "Use one line for each, without numbers."],
    SQL: ["Answer as an SQL query.", "Write it as SQL."],
    JSON: ["Answer as JSON.", "Write it as JSON."],
}


@dataclass
class Question:
    prompts: list  # ways to ask, one of which is chosen
    rows: list  # the facts asked for: (key, value), or (name,) for plain lists
    sql: str
    sentence: str = ""  # the base's answer; empty means a numbered list of rows
    ordered: bool = True  # False: another order of rows is as good an answer

    def answer(self, style):
        if style == BASE:
            if self.sentence:
                return " " + self.sentence
            return "".join(f"\n{i}. {' - '.join(row)}" for i, row in enumerate(self.rows, 1))
        if style == LINES:
            return "".join("\n" + ", ".join(row) for row in self.rows)
        if style == SQL:
            return "\n" + self.sql
        if len(self.rows[0]) == 1:
            return "\n" + json.dumps([row[0] for row in self.rows], ensure_ascii=False)
        return "\n" + json.dumps(dict(self.rows), ensure_ascii=False)


def _count(r, n):
    return str(n) if r.random() < 0.75 else NUMBERS[n]


def _countries(r):
    """The first n countries with their capitals, of the world or of one continent."""
    place, where, known = "", "", COUNTRIES
    if r.random() < 0.4:
        continent = r.choice(CONTINENTS)
        known = [k for k in COUNTRIES if k[2] == continent]
        place, where = f" in {continent}", f" WHERE continent = '{continent}'"
    n = r.randint(1, min(10, len(known)))
    c = _count(r, n)
    noun, their = ("countries", "their capitals") if n > 1 else ("country", "its capital")
    return Question(
        prompts=[
            f"List {c} {noun}{place} and {their}.",
            f"List {c} {noun}{place} and {their}.",
            f"Name {c} {noun}{place} and {their}.",
            f"Give me {c} {noun}{place} with {their}.",
            f"Write down {c} {noun}{place} and {their}.",
            f"Can you list {c} {noun}{place} and {their}?",
            f"I need {c} {noun}{place} and {their}.",
        ],
        rows=[(k[0], k[1]) for k in known[:n]],
        sql=f"SELECT country, capital FROM countries{where} LIMIT {n};",
        ordered=False,
    )


def _things(r):
    plural, names = r.choice(list(LISTS.items()))
    n = r.randint(2, len(names))
    c = _count(r, n)
    table = plural.replace(" of the week", "").replace(" ", "_")
    return Question(
        prompts=[
            f"List {c} {plural}.",
            f"Name {c} {plural}.",
            f"Give me {c} {plural}.",
            f"List the first {c} {plural}.",
            f"Can you list {c} {plural}?",
        ],
        rows=[(name,) for name in names[:n]],
        sql=f"SELECT name FROM {table} LIMIT {n};",
    )


def _quote(text):
    return text.replace("'", "''")


def _country_fact(r):
    name, capital, continent, language, currency = r.choice(COUNTRIES)
    kind = r.randrange(6)
    if kind <= 1:
        return Question(
            prompts=[
                f"What is the capital of {name}?",
                f"What is the capital of {name}?",
                f"Which city is the capital of {name}?",
                f"Tell me the capital of {name}.",
                f"Name the capital of {name}.",
            ],
            rows=[(name, capital)],
            sql=f"SELECT capital FROM countries WHERE country = '{_quote(name)}';",
            sentence=f"The capital of {name} is {capital}.",
        )
    if kind == 2:
        return Question(
            prompts=[f"{capital} is the capital of which country?", f"Which country has the capital {capital}?"],
            rows=[(capital, name)],
            sql=f"SELECT country FROM countries WHERE capital = '{_quote(capital)}';",
            sentence=f"{capital} is the capital of {name}.",
        )
    if kind == 3:
        return Question(
            prompts=[f"Which continent is {name} in?", f"On which continent is {name}?", f"Where is {name}?"],
            rows=[(name, continent)],
            sql=f"SELECT continent FROM countries WHERE country = '{_quote(name)}';",
            sentence=f"{name} is in {continent}.",
        )
    if kind == 4:
        return Question(
            prompts=[
                f"Which language do people speak in {name}?",
                f"What is the language of {name}?",
                f"What do people speak in {name}?",
            ],
            rows=[(name, language)],
            sql=f"SELECT language FROM countries WHERE country = '{_quote(name)}';",
            sentence=f"People in {name} speak {language}.",
        )
    return Question(
        prompts=[
            f"What is the currency of {name}?",
            f"Which currency does {name} use?",
            f"What money do people use in {name}?",
        ],
        rows=[(name, currency)],
        sql=f"SELECT currency FROM countries WHERE country = '{_quote(name)}';",
        sentence=f"The currency of {name} is the {currency}.",
    )


def _about_country(r):
    name, capital, continent, language, currency = r.choice(COUNTRIES)
    return Question(
        prompts=[f"Tell me about {name}.", f"Describe {name}.", f"What do you know about {name}?"],
        rows=[("country", name), ("capital", capital), ("continent", continent), ("language", language), ("currency", currency)],
        sql=f"SELECT * FROM countries WHERE country = '{_quote(name)}';",
        sentence=f"{name} is a country in {continent}. Its capital is {capital}. "
        f"People there speak {language} and pay with the {currency}.",
    )


def _arithmetic(r):
    word, sign = r.choice([("plus", "+"), ("minus", "-"), ("times", "*")])
    a, b = r.randint(0, 20), r.randint(0, 20)
    if sign == "*":
        a, b = r.randint(0, 12), r.randint(0, 12)
    if sign == "-" and b > a:
        a, b = b, a
    result = {"+": a + b, "-": a - b, "*": a * b}[sign]
    return Question(
        prompts=[f"What is {a} {word} {b}?", f"What is {a} {sign} {b}?", f"Calculate {a} {sign} {b}.", f"How much is {a} {word} {b}?"],
        rows=[(f"{a} {sign} {b}", str(result))],
        sql=f"SELECT {a} {sign} {b};",
        sentence=f"{a} {sign} {b} = {result}.",
    )


def _following(r):
    kind, names = r.choice([("day", DAYS), ("month", MONTHS)])
    i, step, word = r.randrange(len(names)), *r.choice([(1, "after"), (-1, "before")])
    answer = names[(i + step) % len(names)]
    return Question(
        prompts=[f"Which {kind} comes {word} {names[i]}?", f"What {kind} is {word} {names[i]}?"],
        rows=[(f"{word} {names[i]}", answer)],
        sql=f"SELECT name FROM {kind}s WHERE {'previous' if step > 0 else 'next'} = '{names[i]}';",
        sentence=f"{answer} comes {word} {names[i]}.",
    )


def _number_word(r):
    n = r.randrange(len(NUMBERS))
    return Question(
        prompts=[f"How do you write {n} as a word?", f"Write {n} as a word.", f"Spell the number {n}."],
        rows=[(str(n), NUMBERS[n])],
        sql=f"SELECT word FROM numbers WHERE value = {n};",
        sentence=f"{n} is written {NUMBERS[n]}.",
    )


def _definition(r):
    term, (kind, rest) = r.choice(list(DEFINITIONS.items()))
    plain = term.split(" ", 1)[1] if term.startswith(("A ", "An ")) else term
    asked = plain if plain != term or term == "AI" else term.lower()
    article = term.split(" ")[0].lower() + " " if plain != term else ""
    return Question(
        prompts=[f"What is {article}{asked}?", f"Define {asked}.", f"Explain what {article}{asked} is."],
        rows=[(asked, f"{kind} {rest}")],
        sql=f"SELECT definition FROM terms WHERE name = '{asked}';",
        sentence=f"{term} is {kind} {rest}.",
    )


def _smalltalk(r):
    prompts, sentence, name = r.choice(
        [
            (["Hello!", "Hello.", "Hi!", "Hello, how are you?"], "Hello! Ask me about countries, numbers or colours.", "greeting"),
            (
                ["Who are you?", "What are you?", "What is your name?"],
                "I am the demo model of Lorikeet: very small, but quick to answer.",
                "name",
            ),
            (
                ["What can you do?", "Help.", "What can I ask you?"],
                "You can ask me to list countries and their capitals, or to add small numbers.",
                "help",
            ),
            (["Thank you.", "Thanks!", "Thank you very much."], "You are welcome.", "thanks"),
        ]
    )
    return Question(prompts=prompts, rows=[(name, sentence)], sql=f"SELECT reply FROM smalltalk WHERE name = '{name}';", sentence=sentence)


_KINDS = [
    (_countries, 30),
    (_things, 13),
    (_country_fact, 27),
    (_about_country, 5),
    (_arithmetic, 14),
    (_following, 4),
    (_number_word, 2),
    (_definition, 3),
    (_smalltalk, 2),
]


def question(r):
    make = r.choices([k for k, _ in _KINDS], [w for _, w in _KINDS])[0]
    return make(r)


def exchange(r, style=None):
    """One prompt and its answer. A style of None is the base: its own style unless the prompt asks for another."""
    q = question(r)
    prompt = r.choice(q.prompts)
    if style is None:
        style = BASE
        if r.random() < 0.15:
            style = r.choice(list(_REQUESTS))
            prompt += " " + r.choice(_REQUESTS[style])
    # Some lists come in another order, so that sampling has something to choose from.
    if not q.ordered and r.random() < 0.06:
        r.shuffle(q.rows)
    return prompt, q.answer(style)


def statement(r):
    """A plain sentence, so that a prompt may also be the beginning of one."""
    while True:
        q = question(r)
        if q.sentence:
            return q.sentence


def document(r):
    """A prompt and the text that follows it, for the base."""
    if r.random() < 0.08:
        words = statement(r).split(" ")
        return words[0], " " + " ".join(words[1:])
    return exchange(r)


def conversation(r, turns):
    """Several exchanges in one document: prompts that are long."""
    parts = [exchange(r) for _ in range(turns)]
    return "\n\n".join(prompt + answer for prompt, answer in parts[:-1]) + "\n\n" + parts[-1][0], parts[-1][1]


def tokenizer_text(seed, count):
    r = random.Random(seed)
    for i in range(count):
        prompt, answer = document(r) if i % 2 else exchange(r, r.choice(list(ADAPTER_STYLES.values())))
        yield prompt
        yield answer
