#!/usr/bin/env python3
"""Train the small tokenizers of model/tokenizer/testdata and write down what the Hugging Face tokenizers library makes of
a few thousand texts.

    python3 -m venv build/venv && build/venv/bin/pip install tokenizers==0.23.3
    build/venv/bin/python tools/tokenizers/generate.py

Everything is drawn from a fixed seed; the same library version writes the same files.
"""

import collections
import copy
import gzip
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "model" / "tokenizer" / "testdata"
SEED = 20251123
TEXTS = 2350  # random texts, on top of the hand-written ones
ID_LISTS = 400  # random id lists to decode, per tokenizer

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Words to train on and to draw texts from. The sentences made of them mean nothing.
WORDS = {
    "en": "the a bird sings in old tree and we don't know why it's late they've gone she'll stay you're I'm he'd river stone "
    "light over under water parrot colour morning evening quickly running walked nation station information",
    "de": "der die das Vogel singt im alten Baum und wir wissen nicht warum größer schön Straße über können müssen Wörter",
    "fr": "l'oiseau chante dans le vieil arbre où été déjà garçon cœur n'est qu'il aujourd'hui naïve forêt",
    "es": "el pájaro canta en árbol viejo mañana niño corazón ¿qué? ¡hola! también según",
    "pl": "ptak śpiewa w starym drzewie żółty źródło wiąże łąka ćma",
    "tr": "kuş eski ağaçta şarkı söylüyor İstanbul ılık güneş çiçek",
    "vi": "con chim hót trên cây cổ thụ buổi sáng nước đường người Việt",
    "ru": "птица поёт на старом дереве утром вода камень свет почему никогда",
    "el": "το πουλί τραγουδά στο παλιό δέντρο νερό φως πρωί",
    "ar": "العصفور يغني في الشجرة القديمة صباح ماء ضوء",
    "he": "הציפור שרה על העץ הישן בוקר מים אור",
    "hi": "पक्षी पुराने पेड़ पर गाता है सुबह पानी प्रकाश",
    "th": "นกร้องเพลงบนต้นไม้เก่า ตอนเช้า น้ำ แสง",
    "zh": "鸟在老树上唱歌 早上 河水 石头 为什么 我们不知道",
    "ja": "鳥は古い木で歌う 朝 水 光 なぜ カタカナ ありがとう",
    "ko": "새가 오래된 나무에서 노래한다 아침 물 빛 왜",
    "code": "func return if err != nil { } for i := range x { out = append(out, i) } def f(self): import os // TODO /* */ "
    "== <= >= -> => && || += x[0] 0xff 3.14 1e-9 \"string\" '\\n' #include <stdio.h>",
    "num": "0 1 12 123 1234 12345 1234567 2024 3.14159 1,000,000 ٣٤٥ १२३ ½ Ⅻ 10^6",
}

TRICKY = """
|a| a|a | a |  a|a  b|a   b|   |\t|\t\t|\t a| \t a|a\t|a \t b
don't|DON'T|Don'T|'s|'S|'ſ|'T'T|'re're|'RE|'Ll|'ll|'l|'|''s|''|'x|it's's|I'mm|we'veX|'ré|’s|`s|'\t|'ſt|'K
1|12|123|1234|12345|1234567|a1|1a|a1b2c3|1.5|1,000|١٢٣٤|½¾|Ⅻ|²³|１２３４|𝟘𝟙𝟚𝟛|१२३४|3rd|0x1F
...|!!!| !!!|  !!!|!a|!!a| !a| !!a|?!\\n|"quoted"|(x)|-a|--a|_a|__init__|a_b|$5|€5|#tag|@you|a@b.c|https://example.com/?q=1&r=a%20b
é|é|é|ñ|ﬁ|ß|ẞ|İ|ı|Ǆ|ǅ|ʼn|ſ|K|Å|ⅷ|ª|ºC|µm|x²|aͅ|a̐éö̲|ﷺ|क्षि|นี่|각|각
中文|日本語テキスト|한국어|русский|ελληνικά|עברית|العربية|हिन्दी|ไทย|中文abc123|１２ ３|　全角　スペース　|。、！？
😀|👍🏽|👨‍👩‍👧‍👦|🇩🇪🇫🇷|❤️|☺|🏳️‍🌈|a😀b|😀😀😀| 😀|𐍈|𓀀|𠀀|𠮷野家|𝔘𝔫𝔦|🫠|🪿
▁|▁▁|▁a|a▁b| ▁|▁ | ▁ |▁▁ a|<0x41>|<0x0A>|<0xGG>|<unk>x|</s>|<s>|<s><s>|<s> a|a <s>|a <s> b|<s>a</s>|<|<s|<s <s>>
<|begin_of_text|>|<|eot_id|>|a<|eot_id|>b|a <|eot_id|> b|<|eot_id|><|eot_id|>|<|eot_id|<|eot_id|>|<|eot|>|<|EOT_ID|>|<|end_of_text|>\\n|\\n<|eot_id|>\\n
[left]| [left] |a  [left]  b|[left][left]|[right]| [right] |a  [right]  b|[both]|a \\n [both] \\t b|[both][both]|[right] [left]|[right]  [both]  [left]
word|words|sword|word.| word |a word b|aword|wordа|word_|word1|¡word!|word word|wordword|éword|word\u0301|word\u200d|ⅷword|wordⒶ|Ⓐword
norm|a norm b|norm norm|normnorm| norm|xnorm|norm ▁norm|special norm|<plain>|a<plain>b|a <plain> b|<pla|<plain><plain>|a <two words> b|<two  words>|a café b|cafécafé
""".strip("\n")

ODD_CHARACTERS = (
    "\x00\x01\x1b\x7f\x80\x85\xa0\xad\u1680\u180e\u2000\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u3000\ufeff"
    "\ufffd\ufffe\uffff\U0010ffff\ue000\u0300\u0345\u0e33\u1c89\ua7cb\U00010d4a\U00010d40\U00013460\U0002ebf0\U0001ccf0"
    "\u017f\u212a\u2160\u0130\u0149\ufb05\u0661\u00bd"
)


def tricky():
    for line in TRICKY.split("\n"):
        for text in line.split("|"):
            text = text.replace("\\n", "\n").replace("\\t", "\t")
            yield text
    # The line above splits at |, which these contain.
    for line in TRICKY.split("\n"):
        if line.startswith("<|"):
            yield line
            for text in line.split(">|"):
                yield text.replace("\\n", "\n") + ">"
    for text in ("\n", "\n\n", "\r\n", "\r", "a\nb", "a\n\nb", "a \n b", "a\n b", "a \nb", " \n", "\n ", " \n ", "\n \n", "  \n\n  x",
                 "a\r\nb\r\n", "!\n", "!\r\n\n", " !\n\n a", "\t\n", "a\u2028b", "a \u2029 b", "\x85\n", "a\x0bb\x0cc", "x\n\n\n\n"):
        yield text
    for c in ODD_CHARACTERS:
        for text in (c, c + c, "a" + c + "b", " " + c, c + " ", "'" + c, " " + c + "a", "1" + c + "2", "!" + c + "\n"):
            yield text
    for n in (1, 2, 3, 7, 40, 300):
        for unit in ("a", " ", "\n", "ab", "é", "中", "😀", "▁", "!", "1", "' ", "\t ", "the "):
            yield unit * n


def sentence(rng):
    words = WORDS[rng.choice(list(WORDS))].split(" ")
    out = []
    for _ in range(rng.randint(1, 9)):
        word = rng.choice(words)
        if rng.random() < 0.15:
            word = rng.choice((str.upper, str.capitalize, str.swapcase))(word)
        out.append(word)
    return rng.choice((" ", " ", " ", " ", "", "  ", "\n", ", ", ". ", "-", "\t")).join(out)


def random_text(rng, marks):
    kind = rng.randrange(6)
    if kind <= 1:
        return " ".join(sentence(rng) for _ in range(rng.randint(1, 2)))
    if kind == 2:  # any characters
        return "".join(chr(random_scalar(rng)) for _ in range(rng.randint(1, 12)))
    if kind == 3:  # structure characters
        return "".join(rng.choice(" \n\r\t'!._-<>|[]()aBs1é中😀▁\u00a0\u3000ſ" + ODD_CHARACTERS) for _ in range(rng.randint(1, 20)))
    if kind == 4:  # contractions and digits
        return "".join(rng.choice(["'s", "'T", "'re", "'LL", "'vE", "'", " ", "123", "7", "x", "É", "ß", "\n"]) for _ in range(rng.randint(1, 10)))
    return "".join(rng.choice([sentence(rng), rng.choice(marks), rng.choice(marks), " ", "  ", "\n", ""]) for _ in range(rng.randint(2, 5)))


def random_scalar(rng):
    while True:
        top = rng.choice((0x80, 0x250, 0x600, 0x1000, 0x3100, 0xA000, 0x10000, 0x11000, 0x20000, 0x32000, 0x110000))
        c = rng.randrange(top)
        if not 0xD800 <= c < 0xE000:
            return c


def llama3_like(corpus):
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    t.train_from_iterator(corpus, trainer)
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in special])
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
            special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))]),
    ])
    return t


def llama2_like(corpus):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.pre_tokenizer = pre_tokenizers.Metaspace()  # keeps words apart while training; the trained tokenizer has none
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=special + ["<0x%02X>" % b for b in range(256)], show_progress=False)
    # Rare characters are left to the byte tokens. (The trainer's own limit_alphabet breaks ties differently on each run.)
    counts = collections.Counter("".join(corpus))
    common = set(sorted(counts, key=lambda c: (-counts[c], c))[:220])
    t.train_from_iterator(["".join(c for c in line if c in common) for line in corpus], trainer)
    model = json.loads(t.to_str())
    model["pre_tokenizer"] = None
    model["added_tokens"] = [a for a in model["added_tokens"] if a["content"] in special]
    t = Tokenizer.from_str(json.dumps(model))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def variant(base, change):
    """A tokenizer whose file is base's with change applied to it."""
    model = copy.deepcopy(json.loads(base.to_str()))
    change(model)
    return Tokenizer.from_str(json.dumps(model))


def gpt2(model):
    model["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    model["model"]["ignore_merges"] = False
    model["post_processor"] = None


def metaspace(scheme, split):
    def change(model):
        model["normalizer"] = None
        model["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}

    return change


def unknowns(fuse):
    """Byte fallback for characters of up to two bytes only; longer ones become <unk>. The template ends in <s>."""

    def change(model):
        model["model"]["fuse_unk"] = fuse
        model["model"]["vocab"] = {
            t.replace("<0xE", "<no-0xE").replace("<0xF", "<no-0xF"): i for t, i in model["model"]["vocab"].items()}
        model["post_processor"]["single"].append({"SpecialToken": {"id": "<s>", "type_id": 0}})

    return change


def metaspace_split(model):
    metaspace("always", True)(model)
    unknowns(True)(model)


def fewer_merges(model):
    """Leaves words in the vocabulary that no merge makes, which ignore_merges still finds, as Llama 3's own vocabulary has."""
    del model["model"]["merges"][::7]


ODD_TOKENS = [
    AddedToken("[left]", lstrip=True, normalized=False, special=True),
    AddedToken("[right]", rstrip=True, normalized=False, special=True),
    AddedToken("[both]", lstrip=True, rstrip=True, normalized=False),
    AddedToken("word", single_word=True, normalized=False),
    AddedToken("norm", normalized=True),
    AddedToken("<plain>", normalized=True),
    AddedToken("<plain><plain>", normalized=True),
    AddedToken("<two words>", normalized=False),  # a space is not in the byte-level alphabet,
    AddedToken("café", normalized=False),  # all of this is, and é stands for a byte
]


def cases(t, texts, rng):
    """Per text: ids without and with the template, then what the latter decode to, special tokens kept and left out. A decode
    that equals the text is null."""
    encoded = []
    for text in texts:
        plain = t.encode(text, add_special_tokens=False).ids
        full = t.encode(text, add_special_tokens=True).ids
        kept, skipped = (t.decode(full, skip_special_tokens=skip) for skip in (False, True))
        encoded.append([plain, full, None if kept == text else kept, None if skipped == text else skipped])
    decoded = []
    size = t.get_vocab_size()
    byte_tokens = [i for i in range(size) if (s := t.id_to_token(i)) is not None and (len(s) == 1 or s.startswith("<0x"))]
    for _ in range(ID_LISTS):
        pool = rng.choice((range(size), byte_tokens, range(max(0, size - 12), size + 2)))
        ids = [rng.choice(rng.choice((pool, range(size)))) for _ in range(rng.randint(1, 12))]
        decoded.append([ids, t.decode(ids, skip_special_tokens=False), t.decode(ids, skip_special_tokens=True)])
    return {"encoded": encoded, "decoded": decoded}


def write(path, value):
    raw = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(raw, 9, mtime=0))
    else:
        path.write_bytes(raw + b"\n")


def main():
    rng = random.Random(SEED)
    corpus = [sentence(rng) for _ in range(6000)]
    marks = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>user<|end_header_id|>\n\n", "<s>", "</s>", "<unk>", "<0x0A>", "word",
             "norm", "<plain>"] + [a.content for a in ODD_TOKENS]
    texts = list(dict.fromkeys(tricky()))
    texts += [random_text(rng, marks) for _ in range(TEXTS)]
    byte_level, sentence_piece = llama3_like(corpus), llama2_like(corpus)
    odd_bytes, odd_pieces = variant(byte_level, fewer_merges), variant(sentence_piece, lambda m: None)
    odd_bytes.add_tokens(ODD_TOKENS)
    odd_pieces.add_tokens(ODD_TOKENS)
    tokenizers = {
        "llama3": byte_level,
        "gpt2": variant(byte_level, gpt2),
        "llama2-prepend": sentence_piece,
        "llama2-metaspace": variant(sentence_piece, metaspace("first", False)),
        "metaspace-split": variant(sentence_piece, metaspace_split),
        "unknown": variant(sentence_piece, unknowns(False)),
        "odd-llama3": odd_bytes,
        "odd-llama2": odd_pieces,
    }
    OUT.mkdir(parents=True, exist_ok=True)
    write(OUT / "texts.json.gz", texts)
    for name, t in tokenizers.items():
        (OUT / name).mkdir(exist_ok=True)
        write(OUT / name / "tokenizer.json", json.loads(t.to_str()))
        write(OUT / name / "cases.json.gz", cases(t, texts, rng))
    print(f"{len(texts)} texts, {len(tokenizers)} tokenizers")


if __name__ == "__main__":
    main()
