# DeepSeek-R1-Distill-Llama-8B (MIT, Llama 3.1 licence): 32 layers of width 4096,
# cut into four parts for four machines or one after the other. Expansion 8, k 64,
# 100 million tokens. Wants a GPU or a cluster (r1-phases(7)).
TITLE := R1-Distill-Llama-8B
MODEL := hf:deepseek-ai/DeepSeek-R1-Distill-Llama-8B@6a6f4aa4197940add57724a7707d069478df56b1
TEMPLATE := r1

LAYER_PARTS := 0-7 8-15 16-23 24-31

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

EXPANSION := 8
K := 64
BATCH := 8192
TOKENS.quick := 1M
TOKENS.full := 100M
TRAIN_EXTRA := --lr 3e-4
FVU_TOKENS.quick := 16k
FVU_TOKENS.full := 1M
CE_TOKENS.quick := 4k
CE_TOKENS.full := 100k
ABLATION_TOKENS.quick := 1k
ABLATION_TOKENS.full := 20k
