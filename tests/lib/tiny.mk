# The release of the pipeline's tests: a random model, seconds.
TITLE := Tiny
MODEL := file:tests/golden/tiny-llama
TEMPLATE := none
CORPUS := file
CTX := 64
EXPANSION := 4
K := 8
TOKENS := 8k
BATCH := 512
FVU_TOKENS := 1k
CE_TOKENS := 512
ABLATION_TOKENS := 256
