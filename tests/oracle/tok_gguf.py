#!/usr/bin/env python3
"""Writes tests/golden/tok/tiny.gguf: a GGUF that is nothing but a tokenizer.

    python3 tests/oracle/tok_gguf.py

Needs: gguf.
"""
import gguf

w = gguf.GGUFWriter("tests/golden/tok/tiny.gguf", "llama")
w.add_tokenizer_model("gpt2")
w.add_tokenizer_pre("llama-bpe")
w.add_token_list(["a", "b", "ab", "Ġ", "xyz", "x", "<|begin_of_text|>", "<u>"])
w.add_token_types([1, 1, 1, 1, 1, 1, 3, 4])
w.add_token_merges(["a b"])
w.add_bos_token_id(6)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
