#!/usr/bin/env python3
"""Writes lib/tok_ucd_runs.c: the character classes as `tokenizers` sees them.

    python3 tests/oracle/tok_ucd.py > lib/tok_ucd_runs.c

Needs: tokenizers (made with 0.22.2). The classes are asked of the library
itself, code point by code point, so that the tables hold the Unicode versions
compiled into it (Oniguruma's for regexes, Rust's for digits and \\w), which are
not those of any library this project links.
"""
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers as P

CODES = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]


def regex_class(pattern):
    split = P.Split(Regex(pattern), "removed")
    out = set()
    for i in range(0, len(CODES), 4096):
        chunk = CODES[i:i + 4096]
        kept = "".join(s for s, _ in split.pre_tokenize_str("".join(map(chr, chunk))))
        out |= set(chunk) - set(map(ord, kept))
    return out


def digits():
    d = P.Digits(individual_digits=True)
    out = set()
    for i in range(0, len(CODES), 2048):
        text = "a" + "a".join(map(chr, CODES[i:i + 2048])) + "a"
        out |= {ord(s) for s, _ in d.pre_tokenize_str(text) if len(s) == 1 and s != "a"}
    return out


def word():
    """What a single_word token may not touch (\\w of Rust's regex)."""
    t = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    t.add_tokens([AddedToken("zz", single_word=True, normalized=False)])
    zz = t.token_to_id("zz")
    out = set()
    for i in range(0, len(CODES), 4096):
        chunk = CODES[i:i + 4096]
        got = t.encode_batch(["zz" + chr(c) for c in chunk], add_special_tokens=False)
        out |= {c for c, e in zip(chunk, got) if zz not in e.ids}
    return out


def main():
    classes = [("L", regex_class(r"\p{L}")), ("M", regex_class(r"\p{M}")),
               ("N", regex_class(r"\p{N}")), ("P", regex_class(r"\p{P}")),
               ("S", regex_class(r"\p{S}")), ("SPACE", regex_class(r"\s")),
               ("DIGIT", digits()), ("WORD", word())]
    bits = bytearray(0x110000)
    for i, (_, codes) in enumerate(classes):
        for c in codes:
            bits[c] |= 1 << i
    runs, last = [], None
    for c, b in enumerate(bits):
        if b != last:
            runs.append((c, b))
            last = b
    print("/* Made by tests/oracle/tok_ucd.py with tokenizers %s; not edited by hand.\n"
          " * A run lasts to the next one's first code point; the last to U+10FFFF.\n"
          " * Bits as enum ucd_class in tok_ucd.h: %s. */\n"
          '#include "tok_ucd.h"\n\n'
          "const struct tok_ucd_run tok_ucd_runs[] = {" %
          (tokenizers.__version__,
           " ".join("%s %d" % (n, 1 << i) for i, (n, _) in enumerate(classes))))
    line = ""
    for c, b in runs:
        item = "{0x%X,%d}," % (c, b)
        if len(line) + len(item) > 79:
            print(line)
            line = ""
        line += item
    print(line)
    print("};\n\nconst size_t tok_ucd_n_runs = sizeof(tok_ucd_runs) / "
          "sizeof(*tok_ucd_runs);")
    print("%d runs" % len(runs), {n: len(s) for n, s in classes}, file=sys.stderr)


main()
