#!/bin/bash
# swap.sh: a stage replaced by a program of one's own; what make says of other
# phases and releases.
. "$(dirname "$0")/../lib/pipeline.sh"
export GOAL=ckpt.sums

check "training on what ten lines of Python write" run "$S/s" ACTDUMP=tests/lib/mine.py
check "it trained the layers the program wrote" test -s "$S/s/tiny/quick/ckpt/layers.1.mlp/sae.safetensors" -a \
	! -e "$S/s/tiny/quick/ckpt/layers.2.mlp"
check "stored activations train the same transcoders" bash -c '
	. tests/lib/pipeline.sh; trap - EXIT; rm -rf "$S"; S=$1
	run "$S/f" && run "$S/d" ACTDUMP="$BIN/actdump --dtype f32" &&
	diff "$S/f/tiny/quick/ckpt.sums" "$S/d/tiny/quick/ckpt.sums"' - "$S"

plan=$(make -n phase2 RELEASE=r1-distill-qwen-1.5b PROFILE=full DATA="$S/n" 2>&1)
for w in 'hf:deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B@' OpenR1-Math c4 'qtok ' --template 'tctrain ' '--expansion 32' '-k 64' \
	'--lr 3e-4' '--tokens 200M' 'tceval ' gnuplot report.md; do
	case $plan in *"$w"*) ok "the plan for the real model names $w" ;; *) not "the plan for the real model names $w" ;; esac
done
check "planning makes nothing" test ! -e "$S/n"
for p in $(sed -n 's/^LATER := //p' pipelines/main.mk | tr -d a-z); do
	out=$(make phase$p 2>&1) && not "phase$p fails" || case $out in
	*"phase $p is not part of this version"*) ok "phase$p says that it is not there" ;;
	*) not "phase$p says that it is not there" ;; esac
done
check "help names the phases there are, and no others" bash -c \
	'[ "$(make help | grep -o "phase[0-9][a-z-]*" | sort -u | tr "\n" " ")" = "$(sed -n "s/^PHASES := //p" pipelines/main.mk) " ]'
out=$(run "$S/x" RELEASE=nothing 2>&1)
case $out in *"no release 'nothing'; there are:"*) ok "a release that is not there" ;; *) not "a release that is not there" ;; esac
exit $rc
