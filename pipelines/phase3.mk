# Phase 3: what the latents do: examples, labels, scores, a database.
#
#   D/examples.ex         what each latent does on a corpus
#   D/labels.lab          labels of a sample, as labels/1; labels.csv
#   D/features.sqlite     all latents, labels, scores (r1-features(5))
#   D/latents/            pages of all latents for a browser: index.html
#   D/review.csv          a sheet for a person to rate; `make agreement`
#   D/phase3.md           the report
#   D/features/           all latents for circuit-tracer's viewer
#   D/neuronpedia/        for Neuronpedia, D/delphi/ for delphi: `make neuronpedia delphi`
#   D/labels/             where labelling works; holds every answer ever paid for
#
# Labels come from the model under study unless LABEL_PROVIDER and LABEL_MODEL
# name another: LABEL_PROVIDER=anthropic LABEL_MODEL=claude-sonnet-4-5
# LABEL_EXTRA='--batch --max-usd 50'. `make cost3` says what that would cost.

TOPK ?= $(BIN)/topk-examples
LABELER ?= $(BIN)/labeler
BROWSE ?= $(BIN)/r1browse
LABELS := pipelines/labels.py
$(call by_profile,EX_TOKENS EX_OPTS LABEL_PER_LAYER LABEL_OPTS)
LABEL_PROVIDER ?= local
# A labeller of one's own need not know the database.
labeller := $(filter-out $(BIN)/labeler,$(LABELER))
LABEL_MODEL ?=
REVIEW ?= 60

# ---- examples -------------------------------------------------------------
TOPK_OPTS = --max-tokens $(EX_TOKENS) --seed $(SEED) $(EX_OPTS)
$(eval $(call stamp,examples,$(call program,$(TOPK)) $(TOPK_OPTS)))
$(D)/examples.ex: $(D)/ckpt.sums $(D)/train.tok $(D)/model.path $(D)/.want/examples
	$(call say,TOPK)$(call into,$(launch)$(TOPK) --model $(model) --transcoders $(D)/ckpt \
		$(TOPK_OPTS) $(threads) <$(D)/train.tok)

# ---- labels ---------------------------------------------------------------
# The working database is known by what it is about, so that answers that were
# paid for outlive changes of options and of mind.
LABELER_OPTS = --provider $(LABEL_PROVIDER) --per-layer $(LABEL_PER_LAYER) --seed $(SEED) \
	$(LABEL_OPTS) $(LABEL_EXTRA)
labels_db = $(D)/labels/$$(cat $(D)/ckpt.sums $(D)/model.path | sha256sum | cut -c 1-16).sqlite
label_model = $(if $(filter local,$(LABEL_PROVIDER)),$(model),'$(LABEL_MODEL)')
$(eval $(call stamp,labels,$(call program,$(LABELER)) $(LABELER_OPTS) $(LABEL_MODEL)))
ask = $(LABELER) --model $(label_model) --tokenizer $(model) $(LABELER_OPTS) $(threads) --db "$$db" <$(D)/examples.ex
# What a rule can do that knows tokens alone, to compare with.
rule = $(if $(labeller),,$(BIN)/labeler --provider tokens --tokenizer $(model) --per-layer $(LABEL_PER_LAYER) --seed $(SEED) \
	$(LABEL_OPTS) --to none --db "$$db" <$(D)/examples.ex && )
$(D)/labels.lab: $(D)/examples.ex $(D)/model.path $(D)/.want/labels
	$(call say,LABEL)mkdir -p $(D)/labels && db=$(labels_db) && export db && $(rule)$(call into,$(launch)$(ask))

$(D)/features.sqlite: $(D)/labels.lab
	@db=$(if $(labeller),$@.tmp && rm -f "$$db",$(labels_db)) && $(if $(labeller),$(BIN)/labeler --import $(D)/labels.lab --model '$(notdir $(labeller))' \
		--tokenizer $(model) --to none --db "$$db" <$(D)/examples.ex && )$(PYTHON) $(LABELS) vacuum "$$db" $@.part && mv -f $@.part $@ && rm -f $@.tmp

$(D)/labels.csv: $(D)/features.sqlite
	@$(call into,$(BIN)/labeler -x --to csv --db $<)

# ---- for people -----------------------------------------------------------
$(eval $(call stamp,phase3,$(call program,$(LABELS) $(PAGES)) $(REVIEW)))
$(D)/review.csv: $(D)/features.sqlite $(D)/.want/phase3
	@$(call into,$(PYTHON) $(LABELS) review $< $(REVIEW) $(SEED))
$(eval $(call stamp,pages,$(call program,$(BROWSE)) $(BROWSE_OPTS) $(TITLE)))
$(D)/latents/index.html: $(D)/examples.ex $(D)/features.sqlite $(D)/model.path $(D)/.want/pages
	$(call say,PAGES)$(BROWSE) --tokenizer $(model) --labels $(D)/features.sqlite --title '$(TITLE)' $(BROWSE_OPTS) \
		--out $(D)/latents <$(D)/examples.ex && $(call took,latents)
$(D)/phase3.md: $(D)/features.sqlite $(D)/review.csv $(D)/latents/index.html $(D)/labels.csv
	$(call say,REPORT)$(call into,$(PYTHON) $(LABELS) report $< 'release=$(RELEASE)' 'profile=$(PROFILE)' \
		'model=$(MODEL)' 'corpus=$(CORPUS)' 'tokens=$(EX_TOKENS)' 'examples=$(strip $(TOPK_OPTS))' 'labels=$(strip $(LABELER_OPTS))')

phase3: $(D)/phase3.md $(D)/features/index.json.gz
	@echo 'phase3: $(D)/phase3.md, $(D)/latents/index.html, $(D)/features.sqlite'

# ---- for other programs ---------------------------------------------------
FEATEXPORT ?= $(BIN)/featexport
$(eval $(call stamp,features,$(call program,$(FEATEXPORT))))
$(D)/features/index.json.gz: $(D)/examples.ex $(D)/model.path $(D)/.want/features
	$(call say,EXPORT)$(launch)$(FEATEXPORT) --tokenizer $(model) --name '$(RELEASE)' $(threads) --out $(@D) <$<

# NP_MODEL and NP_SET: what the model and the source set are called there.
# NP_OPTS: more for featexport, as --creator ID for the tree.
NP_MODEL ?= $(RELEASE)
NP_SET ?= transcoders
$(eval $(call stamp,neuronpedia,$(call program,$(FEATEXPORT)) $(NP_MODEL) $(NP_SET) $(NP_OPTS)))
np_export = $(launch)$(FEATEXPORT) --to $1 --tokenizer $(model) --name '$(NP_MODEL)' --set '$(NP_SET)' \
	--labels $(D)/features.sqlite $(NP_OPTS) --out $(D)/neuronpedia <$(D)/examples.ex
$(D)/neuronpedia/.done: $(D)/examples.ex $(D)/features.sqlite $(D)/model.path $(D)/.want/neuronpedia
	$(call say,EXPORT)$(call np_export,batches) $(if $(findstring --creator,$(NP_OPTS)),&& $(call np_export,neuronpedia) )&& touch $@
neuronpedia: $(D)/neuronpedia/.done
	@echo 'neuronpedia: $(D)/neuronpedia; npupload $(D)/neuronpedia/*-$(NP_SET)'

# DELPHI_NAME: the model's name on the Hub, whose tokenizer delphi takes.
DELPHI_NAME ?= $(patsubst hf:%,%,$(firstword $(subst @, ,$(MODEL))))
$(eval $(call stamp,delphi,$(call program,$(FEATEXPORT) $(TOPK)) $(EX_TOKENS) $(DELPHI_NAME) $(DELPHI_OPTS)))
$(D)/delphi/.done: $(D)/ckpt.sums $(D)/train.tok $(D)/features.sqlite $(D)/model.path $(D)/.want/delphi
	$(call say,EXPORT)rm -rf $(@D) && $(launch)$(TOPK) --model $(model) --transcoders $(D)/ckpt --max-tokens $(EX_TOKENS) \
		--latents $(threads) <$(D)/train.tok | $(FEATEXPORT) --to delphi --name '$(DELPHI_NAME)' \
		--labels $(D)/features.sqlite $(DELPHI_OPTS) --out $(@D) && touch $@
delphi: $(D)/delphi/.done
	@echo 'delphi: $(D)/delphi'

# RATED: one sheet or two, filled in
RATED ?= $(D)/review.csv
agreement:
	@$(PYTHON) $(LABELS) agreement $(D)/features.sqlite $(RATED)

# What labels would cost, of the sample that is asked for when there are
# examples, else of LABEL_PER_LAYER latents of each layer.
COST_MODELS ?= claude-haiku-4-5 claude-sonnet-4-5 claude-opus-4-5 gpt-5-mini gpt-5
cost3:
	@for m in $(COST_MODELS); do p=openai; case $$m in claude*) p=anthropic ;; esac; \
		$(BIN)/labeler --dry-run --provider $$p --model $$m --per-layer $(LABEL_PER_LAYER) $(COST_OPTS) \
		$(if $(wildcard $(D)/examples.ex),--tokenizer $(model) <$(D)/examples.ex,--assume $$(($(DEPTH) * $(LABEL_PER_LAYER)))) || exit 1; done | $(PYTHON) $(LABELS) cost
