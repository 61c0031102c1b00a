# What training would take, without model, corpus or card: tctrain --plan.
#
#   plan    phase 2's transcoders;  plan1: phase 1's grid
#   DEVICE  h100, a100, l40s, a row of CARDS, or cpu: this machine
#   SHAPE   the model: a config.json, a folder or a GGUF file
DEVICE ?= h100
SHAPE ?= $(RELEASE_DIR)/$(RELEASE).json
planner = $(TCTRAIN) --plan --device $(DEVICE) --model $(SHAPE) --ctx $(CTX) $(threads) $(if $(CARDS),--cards $(CARDS)) $(PLAN_EXTRA)

plan:
	@$(planner) $(TRAIN_OPTS)
ifdef sweeping
plan1:
	@$(planner) --layers $(PILOT) $(SWEEP_OPTS) --grid <(printf '%s\n' $(foreach c,$(configs),'$(call of,$c)'))
endif
