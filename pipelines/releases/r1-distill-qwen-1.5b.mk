# DeepSeek-R1-Distill-Qwen-1.5B (MIT): 28 layers of width 1536. The published
# setting: expansion 32, k 64, skip connection, 200 million tokens of reasoning
# and of general text. Wants a GPU or a cluster (r1-phases(7)).
TITLE := R1-Distill-Qwen-1.5B
DEPTH := 28
MODEL := hf:deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B@ad9f0ae0864d7fbcd1cd905e3c6c5b069cc8b562

include pipelines/releases/r1-distill.inc
EXPANSION := 32
TOKENS.full := 200M
