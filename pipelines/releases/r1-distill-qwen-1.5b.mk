# DeepSeek-R1-Distill-Qwen-1.5B (MIT): 28 layers of width 1536. The published
# setting: expansion 32, k 64, skip connection, 200 million tokens of reasoning
# and of general text. Wants a GPU or a cluster (r1-phases(7)).
TITLE := R1-Distill-Qwen-1.5B
MODEL := hf:deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B@ad9f0ae0864d7fbcd1cd905e3c6c5b069cc8b562
TEMPLATE := r1

CORPUS := openr1-math c4
CTX := 1024
DATASET.openr1-math := open-r1/OpenR1-Math-220k@e4e141ec9dea9f8326f4d347be56105859b2bd68
DATASET_FILES.openr1-math := data/*.parquet
DATASET_BYTES.openr1-math.quick := 2000000
DATASET_BYTES.openr1-math.full := 500000000
DATASET.c4 := allenai/c4@1588ec454efa1a09f29cd18ddd04fe05fc8653a2
DATASET_FILES.c4 := en/c4-train.00000-of-01024.json.gz
DATASET_BYTES.c4.quick := 2000000
DATASET_BYTES.c4.full := 400000000

EXPANSION := 32
K := 64
BATCH := 8192
TOKENS.quick := 1M
TOKENS.full := 200M
TRAIN_EXTRA := --lr 3e-4
FVU_TOKENS.quick := 16k
FVU_TOKENS.full := 1M
CE_TOKENS.quick := 4k
CE_TOKENS.full := 100k
ABLATION_TOKENS.quick := 1k
ABLATION_TOKENS.full := 20k
