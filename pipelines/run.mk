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

include pipelines/rules.mk
include pipelines/phase0.mk
include pipelines/phase2.mk

.PHONY: phase0 phase2 force
force: ;
