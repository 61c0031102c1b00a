# Phase 2: a transcoder for each layer, and what they cost.
#
#   D/ckpt/layers.N.mlp/  transcoders in sparsify's format; D/ckpt.sums
#   D/metrics.jsonl       what training measured while it went
#   D/eval.json, eval.csv tceval's
#   D/*.png, D/report.md  plots and the report
#   D/times.tsv           seconds each step took
#
# Where phase 1 has decided, D/phase1/decision.mk sets EXPANSION, K, LR, TOKENS
# and SKIP; the command line has the last word.
#
# Activations go straight from the model into training (the tool does both).
# With ACTDUMP given, that program makes them: ACTDUMP | TCTRAIN.

REPORT := pipelines/report.py
$(call by_profile,EXPANSION K TOKENS BATCH FVU_TOKENS CE_TOKENS ABLATION_TOKENS)

# ---- training -------------------------------------------------------------
# LAYER_PARTS cuts the layers among processes, one target each: '0-13 14-27'
# with -j 2 and LAUNCH='srun ...' uses two machines.
LAYER_PARTS ?= all
TRAIN_OPTS = --expansion $(EXPANSION) -k $(K) --tokens $(TOKENS) --batch $(BATCH) \
	--seed $(SEED) $(if $(LR),--lr $(LR)) $(if $(filter no,$(SKIP)),--no-skip) $(TRAIN_EXTRA)
$(eval $(call stamp,train,$(call program,$(ACTDUMP)) $(call program,$(TCTRAIN)) $(TRAIN_OPTS)))

part = $(D)/parts/$*
tctrain = $(TCTRAIN) $(TRAIN_OPTS) $(threads) --out $(part)/ckpt --resume --metrics $(part)/metrics.jsonl
ifdef ACTDUMP
train = $(launch)$(ACTDUMP) --model $(model) --layers $* $(threads) <$(D)/train.tok | $(launch)$(tctrain)
else
train = $(launch)$(tctrain) --model $(model) --layers $* <$(D)/train.tok
endif

$(D)/parts/%.sums: $(D)/train.tok $(D)/model.path $(D)/.want/train
	$(call say,TRAIN)pipelines/fresh.sh $(part) $^ && $(train) && $(call took,train $*)
	@$(call into,cd $(part)/ckpt && sha256sum layers.*/cfg.json layers.*/sae.safetensors)

parts := $(LAYER_PARTS:%=$(D)/parts/%.sums)
$(eval $(call stamp,parts,$(LAYER_PARTS)))
$(D)/ckpt.sums: $(parts) $(D)/.want/parts
	@rm -rf $(D)/ckpt.part && mkdir -p $(D)/ckpt.part && for p in $(LAYER_PARTS); do cp -al $(D)/parts/$$p/ckpt/layers.* $(D)/ckpt.part/ || exit 1; done && \
	rm -rf $(D)/ckpt && mv $(D)/ckpt.part $(D)/ckpt && $(call into,sort -k 2 $(parts))

$(D)/metrics.jsonl: $(D)/ckpt.sums
	@$(call into,cat $(LAYER_PARTS:%=$(D)/parts/%/metrics.jsonl))

# ---- evaluation -----------------------------------------------------------
EVAL_OPTS = --fvu-tokens $(FVU_TOKENS) --ce-tokens $(CE_TOKENS) \
	--ablation-tokens $(ABLATION_TOKENS) $(if $(PROMPTS),--prompts $(PROMPTS)) $(EVAL_EXTRA)
$(eval $(call stamp,eval,$(call program,$(TCEVAL)) $(EVAL_OPTS)))
$(D)/eval.json: $(D)/ckpt.sums $(D)/metrics.jsonl $(D)/held.tok $(D)/model.path $(D)/.want/eval $(PROMPTS) | $(D)/sanity.json
	$(call say,EVAL)$(call into,$(launch)$(TCEVAL) --model $(model) --transcoders $(D)/ckpt \
		$(EVAL_OPTS) --train-metrics $(D)/metrics.jsonl $(threads) --csv $(D)/eval.csv <$(D)/held.tok)

# ---- plots and report -----------------------------------------------------
plots := $(addprefix $(D)/,loss.png latents.png ce.png)
$(eval $(call stamp,report,$(call program,$(REPORT) $(PAGES)) $(TITLE)))
$(D)/curves.tsv: $(D)/metrics.jsonl $(D)/.want/report
	@$(call into,$(PYTHON) $(REPORT) curves $<)
$(D)/tables.done: $(D)/eval.json $(D)/.want/report
	@$(call into,$(PYTHON) $(REPORT) tables $< $(D))

$(D)/loss.png: $(D)/curves.tsv $(D)/tables.done pipelines/plots/loss.gp pipelines/plots/style.gp
	$(call say,PLOT)$(call gp,$(TITLE): variance left unexplained while training,-e "CURVES='$(D)/curves.tsv';LAYERS='$$(cut -f 1 $(D)/ce.tsv | tr '\n' ' ')'")
$(D)/latents.png: $(D)/tables.done pipelines/plots/latents.gp pipelines/plots/style.gp
	$(call say,PLOT)$(call gp,$(TITLE): active and dead latents,-e "K=$(K);TABLE='$(D)/latents.tsv'")
$(D)/ce.png: $(D)/tables.done pipelines/plots/ce.gp pipelines/plots/style.gp
	$(call say,PLOT)$(call gp,$(TITLE): one MLP replaced by ...,-e "ALL=$$(cat $(D)/all.txt);TABLE='$(D)/ce.tsv'")

$(D)/report.md: $(D)/eval.json $(D)/SHA256SUMS $(D)/ckpt.sums $(plots) $(D)/.want/report
	$(call say,REPORT)$(call into,$(PYTHON) $(REPORT) report $(D)/eval.json $(D)/SHA256SUMS \
		'release=$(RELEASE)' 'profile=$(PROFILE)' 'model=$(MODEL)' 'corpus=$(CORPUS)' \
		'tokens=$(TOKENS)' $(if $(DECISION),'settings=phase 1 chose $(DECISION)') 'training=$(strip $(TRAIN_OPTS))' 'version=$(shell sed -n 's/.*R1_VERSION "\(.*\)"/\1/p' lib/version.h)')

phase2: $(D)/report.md
	@echo 'phase2: $(D)/report.md'
