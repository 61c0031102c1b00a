#!/bin/bash
# rerun.sh: what is redone and what is not; side by side; killed at random.
. "$(dirname "$0")/../lib/pipeline.sh"
D=tiny/quick

t0=$(date +%s%N)
redoes "from nothing" "CORPUS EVAL FETCH PLOT QTOK REPORT SANITY TRAIN "
t1=$(date +%s%N)
redoes "a second run does nothing" ""
check "and make -n says so" bash -c '[ "$(grep -c step.sh <<<"$1")" = 0 ]' - "$(run "$S/a" -n)"
for f in report.md loss.png latents.png ce.png eval.csv ckpt/layers.3.mlp/sae.safetensors times.tsv SHA256SUMS; do
	[ -s "$S/a/$D/$f" ] || not "$f is there"
done
check "the manifest holds" bash -c 'cd "$1" && sha256sum -c --quiet SHA256SUMS && cd ckpt && sha256sum -c --quiet ../ckpt.sums' - "$S/a/$D"
digest "$S/a" >"$S/a.sum"

redoes "a parameter of the evaluation" "EVAL PLOT REPORT " CE_TOKENS=256
redoes "a parameter of training" "EVAL PLOT REPORT TRAIN " CE_TOKENS=256 K=4
redoes "threads and launcher change nothing" "" CE_TOKENS=256 K=4 THREADS=1 LAUNCH=nice
redoes "back again" "EVAL PLOT REPORT TRAIN "
digest "$S/a" | diff - "$S/a.sum" >"$S/diff" && ok "and the same bytes" || { sed 's/^/# /' "$S/diff"; not "and the same bytes"; }
rm "$S/a/$D/ce.png"
redoes "a lost picture" "PLOT REPORT "
cp "$BIN/tceval" "$S/tceval"
redoes "a program of the same name and bytes" "" TCEVAL="$S/tceval"
printf x >>"$S/tceval"
redoes "a changed program" "EVAL PLOT REPORT SANITY " TCEVAL="$S/tceval"

mv "$S/a" "$S/whole"
printf '#!/bin/sh\necho "$1" >>"%s"\nexec "$@"\n' "$S/launched" >"$S/launch"
chmod +x "$S/launch"
check "side by side, in parts, through a launcher" run "$S/j" -j2 LAYER_PARTS='0-1 2-3' LAUNCH="$S/launch" THREADS=1
check "the same bytes as one after the other, in one piece" bash -c \
	'diff <(cd "$1/tiny/quick" && cat ckpt.sums SHA256SUMS) <(cd "$2/tiny/quick" && cat ckpt.sums SHA256SUMS)' - "$S/j" "$S/whole"
check "the launcher stood in front of the heavy steps" bash -c \
	'[ "$(sed "s|.*/||" "$1" | sort | uniq -c | tr -s " \n" " ")" = " 2 qtok 2 tceval 2 tctrain " ]' - "$S/launched"

# Killed at random moments, whole process groups, until one run gets through.
ms=$(((t1 - t0) / 1000000)) n=0 killed=0
while [ $n -lt 8 ]; do
	n=$((n + 1))
	setsid bash -c '. tests/lib/pipeline.sh; trap - EXIT; rm -rf "$S"; S=$1; run "$S/a"' - "$S" >"$S/log" 2>&1 &
	pid=$!
	sleep "$(awk -v m=$ms -v r=$RANDOM 'BEGIN { printf "%.3f", m * r / 32768 / 6000 }')"
	kill -9 -- -$pid 2>/dev/null && killed=$((killed + 1))
	wait $pid 2>/dev/null
done
if run "$S/a" >"$S/log" 2>&1; then
	digest "$S/a" | diff - "$S/a.sum" >"$S/diff" && ok "killed $killed times: the same bytes" || {
		sed 's/^/# /' "$S/diff"; not "killed $killed times: the same bytes"; }
else
	tail -n 5 "$S/log" | sed 's/^/# /'; not "runs through after $killed kills"
fi
exit $rc
