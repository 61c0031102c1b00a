# Phases: what the top Makefile knows of the pipelines (r1-phases(7)).
#
#   RELEASE   a file in RELEASE_DIR: the model, its corpus, its sizes
#   PROFILE   quick or full
#   DATA      where everything goes: DATA/RELEASE/PROFILE/
#   LAUNCH    put in front of the heavy steps: 'srun -c 16'
#   THREADS   threads of each step; no result depends on it
#
# Any variable of a release (pipelines/releases/*.mk) and any stage (QTOK,
# ACTDUMP, TCTRAIN, TCEVAL, ...) may be given on the command line. The work is
# done by a second make a phase, one after the other, so that it sees tools that
# this one has just built and what the phase before decided.

RELEASE ?= smollm2-135m
PROFILE ?= quick
DATA ?= data

PHASES := phase0 phase1 phase1-scores phase2 phase3 phase4
LATER := phase5 phase6

## phase0: model, corpus and tokens of RELEASE, under DATA/RELEASE/PROFILE
## phase1: a grid of configurations on pilot layers, and which is best
## phase1-scores: phase 1 and, of each configuration, how well its latents can be labelled
## phase2: a transcoder for each layer, evaluation, plots, report.md
## phase3: what the latents do: examples, labels, scores, a database
## phase4: attribution graphs of curated prompts; motifs of all graphs, compared
$(PHASES): phases ;

phases: $(TOOLS:%=$(BIN)/%)
	+@$(foreach p,$(filter $(MAKECMDGOALS),$(PHASES)),$(if $(DRY),,pipelines/locked.sh '$(DATA)/$(RELEASE)/$(PROFILE)') $(MAKE) --no-print-directory -f pipelines/run.mk $p RELEASE='$(RELEASE)' PROFILE='$(PROFILE)' DATA='$(DATA)' BIN='$(BIN)' &&) :
DRY := $(findstring n,$(firstword -$(MAKEFLAGS)))

## track: hand the runs' metrics to TRACKER=tensorboard|trackio|mlflow|wandb (FOLLOW=1: live)
track: $(BIN)/r1track
	@FOLLOW='$(FOLLOW)' TRACK_OUT='$(TRACK_OUT)' R1TRACK='$(BIN)/r1track' $(if $(PYTHON),PYTHON='$(PYTHON)') pipelines/track.sh '$(TRACKER)' '$(DATA)/$(RELEASE)/$(PROFILE)' '$(or $(PROJECT),$(RELEASE)-$(PROFILE))'

## plan: what training phase 2's transcoders would take on DEVICE=h100|a100|l40s|cpu
## plan1: the same of phase 1's grid
plan plan1: $(BIN)/tctrain
	+@$(MAKE) --no-print-directory -f pipelines/run.mk $@ RELEASE='$(RELEASE)' PROFILE='$(PROFILE)' DATA='$(DATA)' BIN='$(BIN)'

## cost3: what labels of phase 3 would cost, by model; asks nobody
## agreement: what the rated sheets RATED=... of phase 3 say
## neuronpedia: phase 3's latents and labels as Neuronpedia takes them
## delphi: phase 3's labelled latents as a run of delphi, to be scored
cost3 agreement neuronpedia delphi: $(TOOLS:%=$(BIN)/%)
	+@$(MAKE) --no-print-directory -f pipelines/run.mk $@ RELEASE='$(RELEASE)' PROFILE='$(PROFILE)' DATA='$(DATA)' BIN='$(BIN)'

$(LATER):
	@echo '$@: phase $(@:phase%=%) is not part of this version; there are: $(PHASES)' >&2; exit 2

TRACKER ?= tensorboard

.PHONY: $(PHASES) $(LATER) phases track cost3 agreement neuronpedia delphi plan plan1
