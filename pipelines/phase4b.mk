# Phase 4, second half: motifs of the graphs there are, and how sets of graphs
# differ in them.
#
#   D/motifs/SET.mot            motifs/1: counts, random graphs, statistics
#   D/motifs/compare.json, .csv all sets (motifcmp)
#   D/motifs/z.json             the same by z instead of significance profile
#   D/motifs/even.json          the same at one density, in D/motifs/even/
#   D/motifs/parts.json         thinking against answers of the release's graphs
#   D/motifs/cascades.jsonl     feed-forward loops chained, a class per set
#   D/motifs/*.png, *.svg, report.md
#
# Sets are the release's own graphs (GRAPHS, when there are any), those in
# data/graphs/haiku, the folders of COMPARE (words SET=FOLDER or FOLDER) and what
# PUBLIC names: haiku, or MODEL/SLUG of Neuronpedia, fetched into
# DATA/graphs/MODEL/. A viewer's list, graph-metadata.json, is no graph.

MOTIFCOUNT ?= $(BIN)/motifcount
MOTIFCMP ?= $(BIN)/motifcmp
MOTIFFIND ?= $(BIN)/motiffind
MOTIFS_PY := pipelines/motifs.py
M := $(D)/motifs

NULLS ?= all
SAMPLES.quick ?= 200
SAMPLES.full ?= 1000
GRAPH_THRESHOLD ?= 0
CASCADE_DENSITY ?= 0.1
$(call by_profile,SAMPLES)
COMPARE ?=
PUBLIC ?=
# Releases that reason: their set is asked about against each other one.
REASONING ?= $(if $(findstring r1-,$(RELEASE)),$(RELEASE))
# group/null model: what plots and tables show; all is in compare.json
PROFILES ?= triads/configuration signed/lpc-sign signed/lpc-shuf

# ---- sets -----------------------------------------------------------------
# GRAPHS_MADE: the file the first half's graphs are there with, when it makes
# them; what else stands in for the names of a folder's graphs.
HAIKU ?= data/graphs/haiku
public_sets := $(sort $(foreach w,$(PUBLIC),$(if $(findstring /,$w),$(firstword $(subst /, ,$w)),public-$w)))
set_name = $(if $(findstring =,$1),$(firstword $(subst =, ,$1)),$(notdir $(patsubst %/,%,$1)))
set_folder = $(if $(findstring =,$1),$(lastword $(subst =, ,$1)),$(patsubst %/,%,$1))
own := $(if $(GRAPHS_MADE)$(wildcard $(GRAPHS)/*.json),$(RELEASE)=$(GRAPHS))
ALL_SETS := $(own) haiku=$(HAIKU) $(foreach s,$(public_sets),$s=$(DATA)/graphs/$s) \
	$(foreach w,$(COMPARE),$(call set_name,$w)=$(call set_folder,$w))
SETS := $(foreach w,$(ALL_SETS),$(call set_name,$w))
$(foreach w,$(ALL_SETS),$(eval folder.$(call set_name,$w) := $(call set_folder,$w)))
$(if $(filter-out $(words $(SETS)),$(words $(sort $(SETS)))),$(error two sets of graphs have the same name: $(SETS)))
$(foreach w,$(COMPARE),$(if $(wildcard $(call set_folder,$w)/*.json),,$(error COMPARE: no graph *.json in $(call set_folder,$w))))

# ---- public graphs: only when asked for -----------------------------------
PUBLIC_URL ?= https://transformer-circuits.pub/2025/attribution-graphs
NEURONPEDIA ?= https://www.neuronpedia.org
$(eval $(call stamp,public,$(PUBLIC) $(PUBLIC_URL) $(NEURONPEDIA)))
$(DATA)/graphs/%/.done: $(D)/.want/public
	$(call say,FETCH)pipelines/graphs.sh '$(R1FETCH)' '$(PUBLIC_URL)' '$(NEURONPEDIA)' $* $(@D) \
		$(if $(filter public-%,$*),$(*:public-%=%),$(patsubst $*/%,%,$(filter $*/%,$(PUBLIC)))) && touch $@
.PRECIOUS: $(DATA)/graphs/%/.done

# ---- counting -------------------------------------------------------------
COUNT_OPTS = --nulls $(NULLS) --samples $(SAMPLES) --threshold $(GRAPH_THRESHOLD) \
	--seed $(SEED) $(COUNT_EXTRA)
$(eval $(call stamp,motifs,$(call program,$(MOTIFCOUNT)) $(COUNT_OPTS)))
json_of = $(filter-out %/graph-metadata.json,$(wildcard $(folder.$1)/*.json))
made = $(and $(GRAPHS_MADE),$(filter $1,$(RELEASE)))
in_set = $(if $(call made,$1),$(GRAPHS_MADE),$(json_of)) $(if $(filter $1,$(public_sets)),$(DATA)/graphs/$1/.done)
motifcount = $(launch)$(MOTIFCOUNT) $(COUNT_OPTS) $(threads)
define set_rules
$$(eval $$(call stamp,set-$1,$(folder.$1) $(if $(call made,$1),,$(notdir $(json_of)))))
$(M)/$1.mot: $(call in_set,$1) $(D)/.want/motifs $(D)/.want/set-$1
	$$(call say,MOTIFS)$$(call into,$$(motifcount) $(folder.$1)/!(graph-metadata).json)
$(M)/even/$1.mot: $(call in_set,$1) $(M)/density.txt $(D)/.want/motifs $(D)/.want/set-$1
	$$(call say,MOTIFS)$$(call into,$$(motifcount) --density $$$$(cat $(M)/density.txt) $(folder.$1)/!(graph-metadata).json)
endef
$(foreach s,$(SETS),$(eval $(call set_rules,$s)))

# $(call logged,NAME,COMMAND): messages go to M/NAME.log; shown when it fails
logged = { { $2; } 2>$(M)/$1.log || { cat $(M)/$1.log >&2; false; }; }

# ---- comparing ------------------------------------------------------------
$(eval $(call stamp,compare,$(call program,$(MOTIFCMP)) $(SETS) $(COMPARE_EXTRA)))
motifcmp = $(MOTIFCMP) --seed $(SEED) $(COMPARE_EXTRA) $(threads)
$(M)/compare.json: $(SETS:%=$(M)/%.mot) $(D)/.want/compare
	$(call say,COMPARE)$(call into,$(motifcmp) --csv $(M)/compare.csv $(SETS:%=$(M)/%.mot))
$(M)/z.json: $(SETS:%=$(M)/%.mot) $(D)/.want/compare
	$(call say,COMPARE)$(call into,$(motifcmp) --measure z $(SETS:%=$(M)/%.mot))

# One density for all: the least among the sets' middle graphs.
$(M)/density.txt: $(M)/compare.json
	@$(call into,jq -r '[.sets[].graphs | map(.density // 0) | sort | .[(length - 1) / 2 | floor]] | min | . * 10000 | floor / 10000' $<)
$(M)/even.json: $(SETS:%=$(M)/even/%.mot) $(D)/.want/compare
	$(call say,COMPARE)$(call into,$(motifcmp) $(SETS:%=$(M)/even/%.mot))

# Thinking against answers, where the release's prompts have both. What is left
# out for having no such part is in a log.
count_part = $(motifcount) --part $1 $(GRAPHS)/!(graph-metadata).json >$(M)/$1.part.mot
$(M)/parts.json: $(if $(own),$(call in_set,$(RELEASE)) $(D)/.want/set-$(RELEASE)) $(D)/.want/motifs $(D)/.want/compare
ifneq ($(own),)
	$(call say,PARTS)$(call into,$(call logged,parts,$(call count_part,think) && $(call count_part,answer)) && \
		if r1() { $(BIN)/r1cat -n 1 $(M)/$$1.part.mot | grep -q .; }; r1 think && r1 answer; \
		then $(motifcmp) think=$(M)/think.part.mot answer=$(M)/answer.part.mot; else echo null; fi)
else
	@$(call into,echo null)
endif

# ---- cascades -------------------------------------------------------------
# Classes are sets; of the graphs made here, their sets of prompts.
cascade_classes := $(if $(GRAPHS_MADE),$(foreach s,$(prompt_sets),$(RELEASE):$s=$(call graphs_of,$s)) \
	$(filter-out $(own),$(ALL_SETS)),$(ALL_SETS))
$(eval $(call stamp,cascades,$(call program,$(MOTIFFIND)) $(cascade_classes) $(CASCADE_DENSITY)))
$(M)/cascades.jsonl: $(foreach s,$(SETS),$(call in_set,$s) $(D)/.want/set-$s) $(D)/.want/cascades
	$(call say,CASCADE)$(call into,$(call logged,cascades,$(MOTIFFIND) --cascades --top 3 --density $(CASCADE_DENSITY) $(cascade_classes)))

# ---- plots and report -----------------------------------------------------
$(eval $(call stamp,motif-report,$(call program,$(MOTIFS_PY) $(PAGES)) $(PROFILES) $(REASONING) $(TITLE)))
$(M)/tables.done: $(M)/compare.json $(D)/.want/motif-report
	@$(call into,$(PYTHON) $(MOTIFS_PY) tables $< $(M) $(PROFILES))

motif_plots := $(foreach k,profile heat tree,$(foreach p,$(PROFILES),$(M)/$k-$(subst /,-,$p)))
draw = rm -f $@.part && $(GNUPLOT) -e "OUT='$@.part';$(if $2,SVG=1;)BASE='$(M)/$*';TITLE='$(TITLE) and others'" \
	pipelines/plots/style.gp pipelines/plots/motif-$1.gp && mv -f $@.part $@
define draw_rules
$(M)/$1-%.png: $(M)/tables.done pipelines/plots/motif-$1.gp pipelines/plots/style.gp
	$$(call say,PLOT)$$(call draw,$1)
$(M)/$1-%.svg: $(M)/tables.done pipelines/plots/motif-$1.gp pipelines/plots/style.gp
	$$(call say,PLOT)$$(call draw,$1,1)
endef
$(foreach k,profile heat tree,$(eval $(call draw_rules,$k)))

$(M)/report.md: $(M)/compare.json $(M)/even.json $(M)/z.json $(M)/parts.json $(M)/cascades.jsonl \
		$(motif_plots:%=%.png) $(motif_plots:%=%.svg) $(D)/.want/motif-report
	$(call say,REPORT)$(call into,$(PYTHON) $(MOTIFS_PY) report $(M) 'release=$(RELEASE)' \
		'profile=$(PROFILE)' 'reasoning=$(REASONING)' 'profiles=$(PROFILES)' \
		'density=$(shell cat $(M)/density.txt 2>/dev/null)' 'version=$(shell sed -n 's/.*R1_VERSION "\(.*\)"/\1/p' lib/version.h)')

phase4: $(M)/report.md
	@echo 'phase4: $(M)/report.md'
