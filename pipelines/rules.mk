# What the phases' rules are made of.
#
# A rule depends on the files it reads and on one stamp, D/.want/NAME, which
# holds all else its output depends on: the options, and the digests of the
# programs it runs. A stamp is rewritten only when what it should hold differs
# from what it holds, which is found out while this file is read; so a second
# run does nothing, one parameter redoes what depends on it, and `make -n`
# tells the truth. Touched or rebuilt programs of equal bytes change nothing.

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$1' '$(@:$(DATA)/%=%)';)

# $(call program,COMMAND): its words, those that are files as NAME@DIGEST.
program = $(strip $(foreach w,$1,$(notdir $w)$(call digest,$w)))
digest = $(if $(wildcard $1),@$(shell head -c 100M $1 2>/dev/null | sha256sum | cut -c 1-16))

# What the Python programs of the phases share, and no folder of compiled Python
# among the sources.
PAGES := pipelines/pages.py
export PYTHONDONTWRITEBYTECODE := 1

same = $(and $(findstring [$1],[$2]),$(findstring [$2],[$1]))

# $(eval $(call stamp,NAME,TEXT)): the rule for D/.want/NAME. TEXT goes through
# the environment: it may hold anything but a newline. (Read by cat: make 4.3's
# $(file <) sometimes returns more than the file.)
define stamp
want.$1 := $$(strip $2)
$(D)/.want/$1: $$(if $$(call same,$$(shell cat $(D)/.want/$1 2>/dev/null),$$(want.$1)),,force)
$(D)/.want/$1: export WANT = $$(want.$1)
endef
$(D)/.want/%:
	@TIMES= pipelines/step.sh $@ 'printf "%s\n" "$$WANT"'

# $(call into,COMMAND): what COMMAND prints becomes $@, whole or not at all. The
# seconds of steps go to D/times.tsv, apart from all other outputs, which are the
# same bytes whenever they are made.
into = pipelines/step.sh $@ '$(subst ','\'',$(strip $1))'
export TIMES := $(D)/times.tsv
took = printf '%s\t%s\n' '$1' "$$SECONDS" >>$(TIMES)
launch = $(if $(LAUNCH),$(LAUNCH) )

# $(call gp,TITLE,-e WORDS): the plot $@, by the script of its name
GNUPLOT ?= gnuplot
gp = rm -f $@.part && $(GNUPLOT) -e "OUT='$@.part';TITLE='$1'" $2 pipelines/plots/style.gp pipelines/plots/$(basename $(@F)).gp && \
	mv -f $@.part $@
