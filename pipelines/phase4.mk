# Phase 4, first half: attribution graphs of curated prompts.
#
#   D/prompts/SET.jsonl   a set's prompts as attrgraph takes them
#   D/prompts/SET.sums    digests of its graphs
#   D/graphs/             all graphs, a folder for circuit-tracer's viewer
#   D/graphs.csv          a line of numbers a graph
#   D/phase4.md           the report
#   D/parts/graphs/SET/   where attrgraph works; shares its files with graphs/
#
# A set is one of PROMPT_FILES (data/prompts/graphs/README) and one run of
# attrgraph: the model is loaded once for it, and one that was killed goes on
# behind the graphs it finished. Labels of phase 3 name the features when they
# are there. GRAPHS=FOLDER takes graphs that exist instead.

ATTRGRAPH ?= $(BIN)/attrgraph
ATTRIBUTION := pipelines/attribution.py
PROMPT_FILES ?= $(sort $(wildcard data/prompts/graphs/*.jsonl))
GRAPH_LABELS ?= $(wildcard $(D)/features.sqlite)
GRAPH_FEATURES.quick ?= 256
GRAPH_FEATURES.full ?= 7500
$(call by_profile,GRAPH_FEATURES GRAPH_EXTRA)

ifndef GRAPHS
prompt_sets := $(basename $(notdir $(PROMPT_FILES)))
$(if $(filter-out $(words $(prompt_sets)),$(words $(sort $(prompt_sets)))),$(error two files of PROMPT_FILES have the same name: $(PROMPT_FILES)))
GRAPHS := $(D)/graphs
GRAPHS_MADE := $(if $(prompt_sets),$(D)/graphs.sums)
endif

$(eval $(call stamp,prompts,$(call program,$(ATTRIBUTION) $(PAGES)) $(TEMPLATE)))
GRAPH_OPTS = --max-features $(GRAPH_FEATURES) $(if $(filter-out none,$(TEMPLATE)),--template $(TEMPLATE)) \
	--seed $(SEED) $(GRAPH_EXTRA)
$(eval $(call stamp,graphs,$(call program,$(ATTRGRAPH)) $(GRAPH_OPTS)))
graphs_of = $(D)/parts/graphs/$1
define prompt_rules
$(D)/prompts/$(basename $(notdir $1)).jsonl: $1 $(D)/.want/prompts
	@$$(call into,$$(PYTHON) $$(ATTRIBUTION) prompts $1 $(TEMPLATE))
endef
$(foreach f,$(PROMPT_FILES),$(eval $(call prompt_rules,$f)))

$(D)/prompts/%.sums: $(D)/prompts/%.jsonl $(D)/ckpt.sums $(D)/model.path $(GRAPH_LABELS) $(D)/.want/graphs
	$(call say,GRAPHS)pipelines/fresh.sh $(call graphs_of,$*) $^ && $(launch)$(ATTRGRAPH) --model $(model) --transcoders $(D)/ckpt \
		$(GRAPH_OPTS) $(if $(GRAPH_LABELS),--features $(GRAPH_LABELS)) $(threads) --prompts $< \
		--out $(call graphs_of,$*) --skip-done && $(call took,graphs $*)
	@$(call into,cd $(call graphs_of,$*) && sha256sum $$(jq -r '.id + ".json"' ../../../prompts/$*.jsonl))

graph_sums := $(prompt_sets:%=$(D)/prompts/%.sums)
$(eval $(call stamp,graph-sets,$(prompt_sets)))
$(D)/graphs.sums: $(graph_sums) $(D)/.want/graph-sets
	@$(PYTHON) $(ATTRIBUTION) folder $(D)/graphs.part $(foreach s,$(prompt_sets),$(call graphs_of,$s)) && rm -rf $(D)/graphs && mv $(D)/graphs.part $(D)/graphs && $(call into,cat $(graph_sums))

$(eval $(call stamp,graph-report,$(call program,$(ATTRIBUTION) $(PAGES)) $(TITLE)))
$(D)/graphs.csv: $(D)/graphs.sums $(D)/.want/graph-report
	@$(call into,$(PYTHON) $(ATTRIBUTION) table $(D)/graphs $(prompt_sets:%=$(D)/prompts/%.jsonl))
$(D)/phase4.md: $(D)/graphs.csv
	$(call say,REPORT)$(call into,$(PYTHON) $(ATTRIBUTION) report $< 'release=$(RELEASE)' 'profile=$(PROFILE)' \
		'model=$(MODEL)' 'prompts=$(PROMPT_FILES)' 'options=$(strip $(GRAPH_OPTS))' 'labels=$(notdir $(GRAPH_LABELS))' \
		'version=$(shell sed -n 's/.*R1_VERSION "\(.*\)"/\1/p' lib/version.h)')

ifneq ($(GRAPHS_MADE),)
phase4: $(D)/phase4.md
endif
