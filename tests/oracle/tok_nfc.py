#!/usr/bin/env python3
"""Prints the code points that `tokenizers` does not know to combine.

    python3 tests/oracle/tok_nfc.py

Needs: tokenizers, libutf8proc.so.2. Its normalisers stand at Unicode 10: what
got a combining class or a composition later is a plain character there, but
not to utf8proc. Each code point is normalised between others by both; the
ranges that come out different are the table `later` of lib/tok_norm.c.
"""
import ctypes
import unicodedata

from tokenizers import normalizers

NFC = normalizers.NFC()
lib = ctypes.CDLL("libutf8proc.so.2")
lib.utf8proc_map.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t,
                             ctypes.POINTER(ctypes.c_void_p), ctypes.c_int]
lib.utf8proc_map.restype = ctypes.c_ssize_t
libc = ctypes.CDLL(None)
libc.free.argtypes = [ctypes.c_void_p]
STABLE, COMPOSE = 1 << 1, 1 << 3


def utf8proc(s):
    raw, p = s.encode(), ctypes.c_void_p()
    n = lib.utf8proc_map(raw, len(raw), ctypes.byref(p), STABLE | COMPOSE)
    out = ctypes.string_at(p, n).decode()
    libc.free(p)
    return out


def differs(c):
    # U+0345 has the highest class, U+0334 the lowest: one of them moves
    # past anything that combines
    texts = [chr(c), "a\u0345" + chr(c), "a" + chr(c) + "\u0334"]
    parts = unicodedata.normalize("NFD", chr(c))
    if len(parts) > 1:
        texts.append(parts)
    return any(NFC.normalize_str(s) != utf8proc(s) for s in texts)


ranges = []
for c in range(1, 0x110000):
    if 0xD800 <= c < 0xE000 or not differs(c):
        continue
    if ranges and ranges[-1][1] == c - 1:
        ranges[-1][1] = c
    else:
        ranges.append([c, c])
for first, last in ranges:
    print("{ 0x%x, 0x%x }," % (first, last))
