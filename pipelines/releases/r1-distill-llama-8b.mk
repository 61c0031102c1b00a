# DeepSeek-R1-Distill-Llama-8B (MIT, Llama 3.1 licence): 32 layers of width 4096,
# cut into four parts for four machines or one after the other. Expansion 8, k 64,
# 100 million tokens. Wants a GPU or a cluster (r1-phases(7)).
TITLE := R1-Distill-Llama-8B
DEPTH := 32
MODEL := hf:deepseek-ai/DeepSeek-R1-Distill-Llama-8B@6a6f4aa4197940add57724a7707d069478df56b1

include pipelines/releases/r1-distill.inc
LAYER_PARTS := 0-7 8-15 16-23 24-31
EXPANSION := 8
TOKENS.full := 100M
