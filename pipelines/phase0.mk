# Phase 0: model, corpus, tokens.
#
#   D/model.path            where the model was put: a folder or a GGUF file
#   D/sanity.json           a few continuations, to see that the model speaks
#   D/corpus/NAME.jsonl     one a source of CORPUS
#   D/corpus.jsonl          all of them
#   D/train.tok, D/held.tok tokens, split by each document's hash
#   D/SHA256SUMS            of the above

R1FETCH ?= $(BIN)/r1fetch
QTOK ?= $(BIN)/qtok
TCTRAIN ?= $(BIN)/tctrain
PYTHON ?= /usr/bin/env python3
CORPUS_PY := pipelines/corpus
threads := $(if $(THREADS),--threads $(THREADS))
$(call by_profile,REASONING_BYTES PROSE_BYTES PROSE_DEBS CTX)
SEED ?= 1
HELD ?= 0.05

# ---- the model ------------------------------------------------------------
$(eval $(call stamp,model,$(MODEL) $(MODEL_SHA256)))
fetch_model = $(R1FETCH) $(if $(MODEL_SHA256),--sha256 $(MODEL_SHA256)) '$(MODEL)'

# A cache that was emptied since is filled again, and nothing is redone for it.
here := $(shell cat $(D)/model.path 2>/dev/null)
$(D)/model.path: $(D)/.want/model | $(if $(here),$(if $(wildcard $(here)),,refetch))
	$(call say,FETCH)$(call into,$(fetch_model))
refetch:
	@p=$$($(fetch_model)) && { [ "$$p" = '$(here)' ] || printf '%s\n' "$$p" >$(D)/model.path; }
.PHONY: refetch

model = "$$(cat $(D)/model.path)"

# ---- sanity ---------------------------------------------------------------
TCEVAL ?= $(BIN)/tceval
PROMPTS ?=
$(eval $(call stamp,sanity,$(call program,$(TCEVAL)) $(PROMPTS)))
$(D)/sanity.json: $(D)/model.path $(D)/.want/sanity $(PROMPTS)
	$(call say,SANITY)$(call into,$(launch)$(TCEVAL) --model $(model) $(threads) --gen-tokens 32 \
		$(if $(PROMPTS),--prompts $(PROMPTS),--generate 'The capital of France is'))

# ---- sources of the corpus ------------------------------------------------
# reasoning: problems of the package reasoning-gym, as chats
REASONING_VERSION ?= 0.1.25
REASONING_SHA256 ?= 7f17a3eddb13c015d7d4a755ed576a061df889faf9468bcc2cca334ebe9e0435
$(eval $(call stamp,reasoning,$(call program,$(CORPUS_PY)/reasoning.py) \
	$(REASONING_VERSION) $(REASONING_SHA256) $(REASONING_BYTES) $(SEED)))
$(D)/corpus/reasoning.jsonl: $(D)/.want/reasoning
	$(call say,CORPUS)p=$$($(R1FETCH) $(if $(REASONING_SHA256),--sha256 $(REASONING_SHA256)) 'pypi:reasoning-gym==$(REASONING_VERSION)') && export p && $(call into,$(PYTHON) $(CORPUS_PY)/reasoning.py --package "$$p" --version $(REASONING_VERSION) --bytes $(REASONING_BYTES) --seed $(SEED))

# prose: documentation packages of Debian, NAME=VERSION/SHA256 each
$(eval $(call stamp,prose,$(call program,$(CORPUS_PY)/prose.py) $(PROSE_DEBS) $(PROSE_BYTES)))
$(D)/corpus/prose.jsonl: $(D)/.want/prose
	$(call say,CORPUS)p=; for d in $(strip $(PROSE_DEBS)); do f=$$($(CORPUS_PY)/deb.sh $(R1FETCH) "$${d%/*}" "$${d##*/}") || exit 1; p="$$p $$f"; done; export p; $(call into,$(PYTHON) $(CORPUS_PY)/prose.py --bytes $(PROSE_BYTES) $$p)

# file: JSON lines the user has
$(eval $(call stamp,file,$(CORPUS_FILE)))
$(D)/corpus/file.jsonl: $(D)/.want/file $(CORPUS_FILE)
	$(call say,CORPUS)$(call into,cat $(CORPUS_FILE))

# Any other name N is a data set of the hub: DATASET.N, its files
# DATASET_FILES.N (globs), the first DATASET_BYTES.N of it, the column
# DATASET_FIELD.N when it holds no chats.
HUB := $(filter-out reasoning prose file,$(CORPUS))
$(call by_profile,$(HUB:%=DATASET_BYTES.%))
PYARROW ?= pypi:pyarrow==18.1.0
$(foreach n,$(HUB),$(eval $(call stamp,$n,$(call program,$(CORPUS_PY)/dataset.py) \
	$(DATASET.$n) $(DATASET_FILES.$n) $(DATASET_BYTES.$n) $(DATASET_FIELD.$n))))
$(HUB:%=$(D)/corpus/%.jsonl): $(D)/corpus/%.jsonl: $(D)/.want/%
	$(call say,CORPUS)p=$$($(R1FETCH) $(DATASET_FILES.$*:%=--include '%') 'hf-dataset:$(DATASET.$*)') && export p && $(if $(filter %.parquet,$(DATASET_FILES.$*)),PYTHONPATH=$$($(R1FETCH) '$(PYARROW)') && export PYTHONPATH && )$(call into,$(PYTHON) $(CORPUS_PY)/dataset.py $(if $(DATASET_FIELD.$*),--field $(DATASET_FIELD.$*)) \
		--bytes $(DATASET_BYTES.$*) "$$p")

$(eval $(call stamp,corpus,$(CORPUS)))
$(D)/corpus.jsonl: $(D)/.want/corpus $(CORPUS:%=$(D)/corpus/%.jsonl)
	$(call say,CORPUS)$(call into,cat $(filter %.jsonl,$^))

# ---- tokens ---------------------------------------------------------------
qtok = $(QTOK) --tokenizer $(model) $(QTOK_OPTS) $(threads)
QTOK_OPTS = --shuffle --template $(TEMPLATE) --ctx $(CTX) --seed $(SEED) --held $(HELD)
$(eval $(call stamp,tokens,$(call program,$(QTOK)) $(QTOK_OPTS)))
$(D)/train.tok: $(D)/corpus.jsonl $(D)/model.path $(D)/.want/tokens
	$(call say,QTOK)$(call into,$(launch)$(qtok) --part train <$<)
$(D)/held.tok: $(D)/corpus.jsonl $(D)/model.path $(D)/.want/tokens
	$(call say,QTOK)$(call into,$(launch)$(qtok) --part held <$<)

$(D)/SHA256SUMS: $(D)/corpus.jsonl $(D)/train.tok $(D)/held.tok
	@$(call into,cd $(D) && sha256sum $(^F))

# ---- the phase ------------------------------------------------------------
phase0: $(D)/SHA256SUMS $(D)/sanity.json
	@echo 'phase0: $(D)/train.tok, $(D)/held.tok'
