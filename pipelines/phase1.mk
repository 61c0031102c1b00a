# Phase 1: which transcoders are worth training? A grid of configurations on a
# few pilot layers; phase 2 takes what comes out best.
#
#   D/phase1/NAME/eval.json      tceval's numbers of one configuration
#   D/phase1/NAME/run/           its checkpoint and metrics
#   D/phase1/results.tsv         all of them; speed.tsv: tokens/s
#   D/phase1/decision.json, .mk  the one chosen, and by which rule
#   D/phase1/pareto.png, .svg, report.md
#
# NAME is x4-k32-lr1e-3-t32k-skip: what it differs in. The configurations of
# one pass learn together from one run of the model over the tokens; each is a
# target, and those that are there stay when the grid grows.

SWEEP_EXPANSION.full ?= 32 64 128
SWEEP_K.full ?= 32 64 128
SWEEP_LR.full ?= 1e-4 3e-4 1e-3
SWEEP_TOKENS.full ?= 100M 200M 500M
SWEEP_SKIP.full ?= yes no
SWEEP_EXPANSION.quick ?= 8 16
SWEEP_K.quick ?= 32 64
SWEEP_LR.quick ?= 3e-4 1e-3
SWEEP_TOKENS.quick ?= 1M
SWEEP_SKIP.quick ?= yes
# configurations that fit into memory together
SWEEP_AT_ONCE.full ?= 5
SWEEP_AT_ONCE.quick ?= 16
$(call by_profile,SWEEP_EXPANSION SWEEP_K SWEEP_LR SWEEP_TOKENS SWEEP_SKIP SWEEP_AT_ONCE SWEEP_FVU_TOKENS SWEEP_CE_TOKENS BATCH FVU_TOKENS CE_TOKENS)

# Layers 2, 14 and 26 of 28, or what lies as deep.
ifndef PILOT
ifndef DEPTH
$(error RELEASE $(RELEASE): set DEPTH, the number of its layers, or PILOT, a list of layers)
endif
PILOT := $(shell awk -v d='$(DEPTH)' 'BEGIN { n = split("2 14 26", a); for (i = 1; i <= n; i++) { l = int(a[i] * d / 28 + 0.5); if (l > d - 1) l = d - 1; if (!(l in s)) printf "%s%d", (i > 1 ? "," : ""), l; s[l] = 1 } }')
endif

S := $(D)/phase1
SWEEP := pipelines/sweep.py
# Tokens outermost: those that go through the stream equally far go together.
configs := $(foreach t,$(SWEEP_TOKENS),$(foreach s,$(SWEEP_SKIP:yes=skip),$(foreach l,$(SWEEP_LR),$(foreach k,$(SWEEP_K),$(foreach x,$(SWEEP_EXPANSION),x$x-k$k-lr$l-t$t-$(s:no=noskip))))))
# $(call of,NAME): its options. Rates have a - of their own: 1e-3.
of = $(shell echo '$1' | sed -E 's/^x([^-]*)-k([^-]*)-lr(.*)-t([^-]*)-(no)?skip$$/--expansion \1 -k \2 --lr \3 --tokens \4/')$(if $(filter %-noskip,$1), --no-skip)
# The passes: 1 2 ..., and $(passN) the configurations of each.
chunk = $(if $1,$(eval passes += $(words x $(passes)))$(eval pass$(lastword $(passes)) := $(wordlist 1,$(SWEEP_AT_ONCE),$1))$(call chunk,$(wordlist $(words x $(wordlist 1,$(SWEEP_AT_ONCE),$1)),$(words $1),$1)))
$(call chunk,$(configs))

ifdef DRY
$(info phase1: $(words $(configs)) configurations of layers $(PILOT) in $(words $(passes)) $(if $(word 2,$(passes)),passes,pass) over the tokens)
$(foreach p,$(passes),$(info $()  pass $p: $(pass$p)))
endif

# ---- training -------------------------------------------------------------
SWEEP_OPTS = --batch $(BATCH) --seed $(SEED) $(SWEEP_EXTRA)
sweep_programs := $(call program,$(ACTDUMP)) $(call program,$(TCTRAIN))
# NAME/need is the line of the grid, remade when anything it rests on changed.
$(foreach c,$(configs),$(eval $(call stamp,phase1/$c,$(sweep_programs) $(PILOT) $(call of,$c) $(SWEEP_OPTS))))
$(configs:%=$(S)/%/need): $(S)/%/need: $(D)/.want/phase1/% $(D)/train.tok $(D)/model.path
	@pipelines/fresh.sh $(@D)/run $^ && $(call into,echo '--out $(@D)/run/ckpt --metrics $(@D)/run/metrics.jsonl $(call of,$*)')

sweep = $(TCTRAIN) $(SWEEP_OPTS) $(threads) --resume --grid $@.grid
ifdef ACTDUMP
sweep_run = $(launch)$(ACTDUMP) --model $(model) --layers $(PILOT) $(threads) <$(D)/train.tok | $(launch)$(sweep)
else
sweep_run = $(launch)$(sweep) --model $(model) --layers $(PILOT) <$(D)/train.tok
endif
# One pass. What is at its end already stays so and costs nothing.
define pass_rules
$$(eval $$(call stamp,phase1/pass$1,$$(pass$1)))
$(S)/pass$1: $$(pass$1:%=$(S)/%/need) $(D)/.want/phase1/pass$1
	$$(call say,SWEEP)cat $$(filter %/need,$$^) >$$@.grid && $$(sweep_run) && $$(call took,pass$1) && rm $$@.grid && touch $$@
$$(pass$1:%=$(S)/%/sums): $(S)/%/sums: $(S)/%/need | $(S)/pass$1
	@$$(call into,cd $$(@D)/run/ckpt && sha256sum layers.*/cfg.json layers.*/sae.safetensors)
endef
$(foreach p,$(passes),$(eval $(call pass_rules,$p)))

# ---- measuring ------------------------------------------------------------
SWEEP_EVAL = --fvu-tokens $(or $(SWEEP_FVU_TOKENS),$(FVU_TOKENS)) --ce-tokens $(or $(SWEEP_CE_TOKENS),$(CE_TOKENS)) --ablations none $(EVAL_EXTRA)
$(eval $(call stamp,phase1/eval,$(call program,$(TCEVAL)) $(SWEEP_EVAL)))
$(configs:%=$(S)/%/eval.json): $(S)/%/eval.json: $(S)/%/sums $(D)/held.tok $(D)/model.path $(D)/.want/phase1/eval
	$(call say,EVAL)$(call into,$(launch)$(TCEVAL) --model $(model) --transcoders $(@D)/run/ckpt \
		$(SWEEP_EVAL) --train-metrics $(@D)/run/metrics.jsonl $(threads) <$(D)/held.tok)

# A program that says how well latents can be explained, when there is one: run
# as AUTOINTERP --model M --transcoders DIR --latents N < held.tok, it prints a
# JSON object with a number, score, higher better, and if it knows its standard
# error, se. Without, the column is empty.
# phase1-scores is phase 1 with autointerp.sh, which asks phase 3's labeller.
ifneq ($(filter phase1-scores,$(MAKECMDGOALS)),)
$(call by_profile,EX_TOKENS EX_OPTS LABEL_OPTS)
score_tools := $(or $(TOPK),$(BIN)/topk-examples) $(or $(LABELER),$(BIN)/labeler)
AUTOINTERP ?= env BIN='$(BIN)' TOPK='$(word 1,$(score_tools))' LABELER='$(word 2,$(score_tools))' PYTHON='$(PYTHON)' \
	SEED='$(SEED)' EX_TOKENS='$(EX_TOKENS)' EX_OPTS='$(EX_OPTS)' LABEL_PROVIDER='$(LABEL_PROVIDER)' \
	LABEL_MODEL='$(LABEL_MODEL)' LABEL_OPTS='$(LABEL_OPTS)' LABEL_EXTRA='$(LABEL_EXTRA)' pipelines/autointerp.sh
endif
AUTOINTERP ?=
AUTOINTERP_LATENTS ?= 100
$(eval $(call stamp,phase1/autointerp,$(call program,$(AUTOINTERP) $(score_tools)) $(AUTOINTERP_LATENTS)))
scores := $(if $(AUTOINTERP),$(configs:%=$(S)/%/autointerp.json))
$(configs:%=$(S)/%/autointerp.json): $(S)/%/autointerp.json: $(S)/%/sums $(D)/held.tok $(D)/.want/phase1/autointerp
	$(call say,SCORE)$(call into,$(launch)$(if $(THREADS),env R1_THREADS='$(THREADS)' )$(AUTOINTERP) --model $(model) --transcoders $(@D)/run/ckpt --latents $(AUTOINTERP_LATENTS) <$(D)/held.tok)

# ---- choosing -------------------------------------------------------------
# Dead share above which a configuration is set aside; how much more than the
# best a cross-entropy increase may be and still count as good.
SWEEP_DEAD ?= 0.1
SWEEP_TOLERANCE ?= 0.1
$(eval $(call stamp,phase1/results,$(call program,$(SWEEP) $(PAGES)) $(configs) $(if $(AUTOINTERP),scores)))
$(eval $(call stamp,phase1/decision,$(SWEEP_DEAD) $(SWEEP_TOLERANCE)))
$(S)/results.tsv: $(configs:%=$(S)/%/eval.json) $(scores) $(D)/.want/phase1/results
	@$(call into,$(PYTHON) $(SWEEP) results $(S) $(if $(AUTOINTERP),--scores) $(configs))
$(S)/speed.tsv: $(S)/results.tsv
	@$(call into,$(PYTHON) $(SWEEP) speed $(S) $(configs))
$(S)/decision.json: $(S)/results.tsv $(D)/.want/phase1/decision
	@$(call into,$(PYTHON) $(SWEEP) decide $< $(SWEEP_DEAD) $(SWEEP_TOLERANCE))
$(S)/decision.mk: $(S)/decision.json
	@$(call into,$(PYTHON) $(SWEEP) settings $<)
$(S)/points.tsv: $(S)/results.tsv $(S)/decision.json
	@$(call into,$(PYTHON) $(SWEEP) points $^)

# ---- plot and report -------------------------------------------------------
pareto = $(call gp,$(TITLE): what one MLP of layers $(PILOT) costs,-e "POINTS='$(S)/points.tsv'$1")
$(S)/pareto.png: $(S)/points.tsv pipelines/plots/pareto.gp pipelines/plots/style.gp
	$(call say,PLOT)$(call pareto)
$(S)/pareto.svg: $(S)/points.tsv pipelines/plots/pareto.gp pipelines/plots/style.gp
	$(call say,PLOT)$(call pareto,;SVG=1)
$(eval $(call stamp,phase1/report,$(call program,$(SWEEP) $(PAGES)) $(TITLE)))
$(S)/report.md: $(S)/results.tsv $(S)/speed.tsv $(S)/decision.json $(S)/decision.mk $(S)/pareto.png $(S)/pareto.svg $(D)/.want/phase1/report
	$(call say,REPORT)$(call into,$(PYTHON) $(SWEEP) report $(S)/results.tsv $(S)/speed.tsv $(S)/decision.json \
		'release=$(RELEASE)' 'profile=$(PROFILE)' 'model=$(MODEL)' 'layers=$(PILOT)' 'passes=$(words $(passes))' \
		'training=$(strip $(SWEEP_OPTS))' 'evaluation=$(strip $(SWEEP_EVAL))')

phase1 phase1-scores: $(S)/report.md
	@echo '$@: $<'
