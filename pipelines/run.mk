# The make that does the work of the phases; called by main.mk.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
export LC_ALL := C.UTF-8

RELEASE ?= smollm2-135m
PROFILE ?= quick
DATA ?= data
BIN ?= bin
RELEASE_DIR ?= pipelines/releases
ifeq ($(wildcard $(RELEASE_DIR)/$(RELEASE).mk),)
$(error no release '$(RELEASE)'; there are: $(patsubst $(RELEASE_DIR)/%.mk,%,$(wildcard $(RELEASE_DIR)/*.mk)))
endif
include $(RELEASE_DIR)/$(RELEASE).mk
ifneq ($(filter-out quick full,$(PROFILE)),)
$(error PROFILE is quick or full, found '$(PROFILE)')
endif
# A variable VAR that is not set takes VAR.quick or VAR.full.
by_profile = $(foreach v,$1,$(eval $v ?= $($v.$(PROFILE))))

D := $(DATA)/$(RELEASE)/$(PROFILE)

# Phase 1 has its rules only when it is asked for: phase 2 takes its decision
# when there is one, and does not ask for it.
sweeping := $(filter phase1 phase1-scores plan1 $(D)/phase1/%,$(MAKECMDGOALS))
ifndef sweeping
-include $(D)/phase1/decision.mk
endif
DRY := $(findstring n,$(firstword -$(MAKEFLAGS)))

include pipelines/rules.mk
include pipelines/phase0.mk
ifdef sweeping
include pipelines/phase1.mk
endif
include pipelines/phase2.mk
include pipelines/phase3.mk
include pipelines/phase4.mk
include pipelines/phase4b.mk
include pipelines/plan.mk

.PHONY: phase0 phase1 phase2 phase3 phase4 agreement neuronpedia delphi cost3 plan plan1 phase1-scores force
force: ;
