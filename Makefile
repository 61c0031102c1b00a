# R1-Interp.  `make help` lists the targets.
#
# Knobs, given on the command line (make V=1 asan=1 ...):
#   V=1            show the commands
#   asan=1         address and undefined-behaviour sanitizers (build/asan)
#   tsan=1         thread sanitizer (build/tsan)
#   CC, CFLAGS     compiler and optimisation; flags the code needs are added
#   PREFIX         where `make install` puts things      [/usr/local]
#   DESTDIR        staging folder for packagers
#   RELEASE        which model a phase works on          [smollm2-135m]
#   PROFILE        quick or full                         [quick]
#   DATA           where phases keep what they make      [data]
#   LAUNCH         put in front of heavy pipeline steps, e.g. 'srun -c 8'
#   FUZZ_S         seconds a reader is fuzzed               [60]
#   NVCC           CUDA compiler; absent: the CPU build is complete

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

all:

PREFIX ?= /usr/local
NVCC ?= $(shell command -v nvcc 2>/dev/null)
CFLAGS ?= -O2 -g
ifeq ($(origin CC),default)
CC := gcc
endif

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$1' '$2';)

# ---- flags ----------------------------------------------------------------
# Generic x86-64 or arm64 everywhere; only lib/*_{avx2,avx512,vnni,amx}.c are
# compiled for more, and are entered behind a run-time check.
PKGS := msgpack libzstd libpcre2-8 libutf8proc jansson libcurl libcrypto sqlite3 zlib
CPPFLAGS_R1 := -D_GNU_SOURCE -Ilib
# -Wno-psabi: vectors are passed by value, but to functions that are inlined alone
CFLAGS_R1 := -std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wno-psabi -fno-math-errno -ffp-contract=off -pthread
LDLIBS_R1 = -Wl,--as-needed $(PKG_LIBS) -lm -pthread

B := build
ifdef asan
B := build/asan
CFLAGS_R1 += -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
endif
ifdef tsan
B := build/tsan
CFLAGS_R1 += -fsanitize=thread
endif
# Sanitized tools stand apart: bin/ holds what users run.
BIN := $(if $(asan)$(tsan),$(B)/bin,bin)

NO_CONFIG := help deps clean uninstall check-layers
ifneq ($(if $(MAKECMDGOALS),$(filter-out $(NO_CONFIG),$(MAKECMDGOALS)),all),)
ifneq ($(filter deps,$(MAKECMDGOALS)),)
# `make deps phase2`: the libraries arrive with the first goal, so ask late.
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) openblas)
PKG_LIBS = $(shell pkg-config --libs $(PKGS) openblas)
else
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) openblas)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) openblas)
endif
endif

COMPILE = $(CC) $(CPPFLAGS_R1) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS_R1) $(CFLAGS)
ISA_avx2 := -mavx2 -mfma -mf16c
ISA_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
ISA_vnni := $(ISA_avx512) -mavx512vnni
ISA_amx := $(ISA_avx512) -mavx512bf16 -mamx-tile -mamx-bf16

# ---- what there is --------------------------------------------------------
TOOLS := $(patsubst bin/%.c,%,$(wildcard bin/*.c))
LIB_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard lib/*.c))
LIB := $(B)/libr1.a
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
BENCH := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

## all: every tool, into bin/
all: $(TOOLS:%=$(BIN)/%)
ifeq ($(NVCC),)
	@echo 'nvcc not found: CPU build, complete'
endif

# Everything depends on the flags through this stamp, so that changing them
# rebuilds and nothing needs `make clean` first.
FLAGS_NOW = $(CC) $(CPPFLAGS_R1) $(CPPFLAGS) $(CFLAGS_R1) $(CFLAGS) $(LDFLAGS)
same = $(and $(findstring [$1],[$2]),$(findstring [$2],[$1]))
$(B)/flags: $(if $(call same,$(shell cat $(B)/flags 2>/dev/null),$(strip $(FLAGS_NOW))),,force)
	@mkdir -p $(B); echo '$(strip $(FLAGS_NOW))' > $@
force: ;

# deps first when both are asked for
$(B)/flags: $(filter deps,$(MAKECMDGOALS))

$(B)/lib/%_avx2.o: lib/%_avx2.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(COMPILE) \
		$(if $(filter x86_64,$(shell uname -m)),$(ISA_avx2)) -MMD -MP -c $< -o $@
$(B)/lib/%_avx512.o: lib/%_avx512.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(COMPILE) \
		$(if $(filter x86_64,$(shell uname -m)),$(ISA_avx512)) -MMD -MP -c $< -o $@
$(B)/lib/%_vnni.o: lib/%_vnni.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(COMPILE) \
		$(if $(filter x86_64,$(shell uname -m)),$(ISA_vnni)) -MMD -MP -c $< -o $@
$(B)/lib/%_amx.o: lib/%_amx.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(COMPILE) \
		$(if $(filter x86_64,$(shell uname -m)),$(ISA_amx)) -MMD -MP -c $< -o $@
$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(COMPILE) -MMD -MP -c $< -o $@

# Files that they hold (lib/embed.h, .incbin)
$(B)/lib/label_text.o: $(wildcard data/prompts/label/*.txt) data/prices.tsv
$(B)/lib/browse_page.o: $(wildcard data/browse/*)
$(B)/lib/view_text.o: $(wildcard data/viewer/*)
$(B)/lib/train_plan_card.o: data/cards.tsv

$(LIB): $(LIB_OBJ)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(BIN)/%: $(B)/bin_%.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(COMPILE) $(LDFLAGS) $^ $(LDLIBS_R1) -o $@
$(B)/bin_%.o: bin/%.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(COMPILE) -MMD -MP -c $< -o $@

$(B)/unit/%: $(B)/tests/unit/%.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(COMPILE) $(LDFLAGS) $^ $(LDLIBS_R1) -lcmocka -o $@
$(B)/bench/%: $(B)/tests/bench/%.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(COMPILE) $(LDFLAGS) $^ $(LDLIBS_R1) -o $@
$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz/driver.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(COMPILE) $(LDFLAGS) $^ $(LDLIBS_R1) -o $@
# private: else what a test needs first, the stamp of the flags, has it too
$(B)/tests/%.o: private CPPFLAGS_R1 += -Itests

.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)

# ---- help, deps, install --------------------------------------------------
## help: this list
help:
	@sed -n 's/^## \([a-z0-9-]*\): */\1\t/p' $(MAKEFILE_LIST) | \
		awk -F'\t' '{ printf "  %-16s %s\n", $$1, $$2 }'

## deps: install the Debian packages of packages.txt (root or sudo), once
deps:
	@pipelines/deps.sh packages.txt

# What goes where under PREFIX; uninstall removes just these.
MAN := $(wildcard man/*.[1-9])
SHARE := $(DESTDIR)$(PREFIX)/share
BASH_COMP := $(SHARE)/bash-completion/completions
ZSH_COMP := $(SHARE)/zsh/site-functions/_r1-interp
FISH_COMP := $(SHARE)/fish/vendor_completions.d

## install: tools, manual pages and shell completions, under PREFIX
install: all
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(BASH_COMP)' '$(dir $(ZSH_COMP))' '$(FISH_COMP)'
	install -m 755 $(TOOLS:%=$(BIN)/%) '$(DESTDIR)$(PREFIX)/bin'
	for p in $(MAN); do d='$(SHARE)'/man/man$${p##*.}; \
		install -d "$$d" && install -m 644 "$$p" "$$d" || exit 1; done
	for t in $(TOOLS); do \
		man/completion.sh bash $(BIN)/$$t >'$(BASH_COMP)'/$$t && \
		man/completion.sh fish $(BIN)/$$t >'$(FISH_COMP)'/$$t.fish || exit 1; done
	man/completion.sh zsh $(TOOLS:%=$(BIN)/%) >'$(ZSH_COMP)'

## uninstall: remove what install put there
uninstall:
	cd '$(DESTDIR)$(PREFIX)/bin' && rm -f $(TOOLS)
	for p in $(MAN); do rm -f '$(SHARE)'/man/man$${p##*.}/$${p##*/}; done
	for t in $(TOOLS); do rm -f '$(BASH_COMP)'/$$t '$(FISH_COMP)'/$$t.fish; done
	rm -f '$(ZSH_COMP)'

## clean: remove what was built; what phases made under data/ stays
clean:
	rm -rf build $(TOOLS:%=bin/%)

# ---- tests ----------------------------------------------------------------
## test: unit, golden, tool-level, pipeline and documentation tests
test: all $(UNIT) $(FUZZ)
	@BUILD=$(abspath $(B)) BIN=$(abspath $(BIN)) tests/run

## check-layers: who may include whom (CONTRIBUTING, the map)
check-layers:
	@tests/check/layers.sh

## fuzz: libFuzzer (clang) on every reader, FUZZ_S seconds each
fuzz:
	@tests/fuzz/run

## bench: speeds as ratios to a peer measured in the same run
bench: all $(BENCH)
	@BIN=$(abspath $(BIN)) tests/bench/run

## quality: recipes of training against sparsify's, into DIR (hours; r1-training(7))
quality: all
	@BIN=$(abspath $(BIN)) tests/bench/quality.sh $(CELLS)

-include pipelines/main.mk

.PHONY: quality all help deps install uninstall clean test bench fuzz check-layers force
