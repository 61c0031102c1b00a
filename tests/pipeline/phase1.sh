#!/bin/bash
# phase1.sh: the grid on pilot layers: what is trained again and what is not,
# kills, the rule it decides by, and phase 2 that reads the decision.
. "$(dirname "$0")/../lib/pipeline.sh"
PHASE=phase1
P=tiny/quick/phase1
small='SWEEP_SKIP=yes'		# four configurations, two passes

steps() { sed -n 's/^  \([A-Z]*\) *tiny\/quick\/phase1\/\([^/]*\).*/\1:\2/p' "$1" | sort | tr '\n' ' '; }
# all that must be the same bytes whenever it is made
sums() { (cd "$1/$P" && find . -type f ! -name speed.tsv ! -name report.md ! -name metrics.jsonl ! -name '*.grid' \
	! -name '*.part' ! -name 'pass*' ! -path '*/state/*' ! -name need ! -name eval.json ! -name .from -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }

check 'runs through' run "$S/a" $small
check 'all is there' eval "(cd '$S/a/$P' && ls report.md results.tsv speed.tsv decision.json decision.mk pareto.png pareto.svg && [ \$(ls -d x*/ | wc -l) = 4 ] && head -c 8 pareto.png | grep -q PNG && grep -q '<svg' pareto.svg)"
check 'layers 2, 14 and 26 of 28, scaled to four' eval "ls -d '$S/a/$P'/x2-k4-lr1e-3-t4k-skip/run/ckpt/layers.{0,2,3}.mlp && [ \$(ls -d '$S/a/$P'/x*/run/ckpt/layers.* | wc -l) = 12 ]"
check 'results: a line each, every number known but autointerp' eval "[ \$(wc -l <'$S/a/$P/results.tsv') = 5 ] && ! cut -f 1-15 '$S/a/$P/results.tsv' | grep '?' && [ \$(cut -f 16 '$S/a/$P/results.tsv' | grep -c '?') = 4 ]"
check 'the report says so, has a row each and the speeds' eval "grep -q 'column autointerp is empty' '$S/a/$P/report.md' && [ \$(grep -cE '^\| .*x[24]-k[48]-.* [0-9]+ \| [0-9]+ MiB \|' '$S/a/$P/report.md') = 4 ]"
M=tests/golden/tiny-llama
"$BIN/tctrain" --model $M --layers 0,2,3 --batch 512 --seed 1 --expansion 4 -k 8 --lr 1e-3 --tokens 4k --out "$S/alone" <"$S/a/tiny/quick/train.tok"
check 'a configuration has the bytes it has alone' cmp "$S/alone/layers.2.mlp/sae.safetensors" "$S/a/$P/x4-k8-lr1e-3-t4k-skip/run/ckpt/layers.2.mlp/sae.safetensors"

sums "$S/a" >"$S/a.sum"
touch "$BIN/tctrain" pipelines/sweep.py
run "$S/a" $small >"$S/log" 2>&1
check 'a second run does nothing, though programs were touched' eval "[ \$(wc -l <'$S/log') = 1 ]"
make --no-print-directory -n -f pipelines/run.mk phase1 RELEASE_DIR=tests/lib RELEASE=tiny CORPUS_FILE="$S/docs.jsonl" DATA="$S/a" BIN="$BIN" $small SWEEP_LR='1e-3 2e-3' >"$S/log" 2>&1
check 'make -n names configurations and passes' eval "grep -q '^phase1: 8 configurations of layers 0,2,3 in 3 passes' '$S/log' && grep -q 'tctrain.*--grid' '$S/log'"

# ---- a grid that grows and shrinks ---------------------------------------------
stat -c '%i %y' "$S/a/$P"/x*/sums "$S/a/$P"/x*/eval.json "$S/a/$P"/x*/run/ckpt/layers.0.mlp/* >"$S/old"
check 'one more k' run "$S/a" $small SWEEP_K='4 8 6'
check 'trains and measures that alone' eval "stat -c '%i %y' '$S/a/$P'/x*-k[48]-*/sums '$S/a/$P'/x*-k[48]-*/eval.json '$S/a/$P'/x*-k[48]-*/run/ckpt/layers.0.mlp/* | cmp - '$S/old' && [ \$(wc -l <'$S/a/$P/results.tsv') = 7 ]"
run "$S/a" $small >"$S/log" 2>&1
check 'and back: nothing is trained or measured' eval "! grep -q EVAL '$S/log' && [ \$(wc -l <'$S/a/$P/results.tsv') = 5 ]"
small="$small FVU_TOKENS=900"
run "$S/a" $small >"$S/log" 2>&1
check 'measuring otherwise trains nothing' eval "[ \$(grep -c EVAL '$S/log') = 4 ] && ! grep -q SWEEP '$S/log'"
run "$S/a" $small SWEEP_TOLERANCE=0.5 >"$S/log" 2>&1
check 'deciding otherwise measures nothing' eval "! grep -qE 'EVAL|SWEEP' '$S/log' && grep -q REPORT '$S/log'"

# ---- kills ----------------------------------------------------------------------
killed=0
for i in 1 2 3 4; do
	setsid make --no-print-directory -f pipelines/run.mk phase1 RELEASE_DIR=tests/lib RELEASE=tiny CORPUS_FILE="$S/docs.jsonl" \
		DATA="$S/k" BIN="$BIN" SWEEP_SKIP=yes >/dev/null 2>&1 &
	pid=$!
	sleep "0.$((i + 2))"
	kill -9 -- -$pid 2>/dev/null && killed=$((killed + 1))
	wait $pid 2>/dev/null
done
check "killed $killed times, runs through" run "$S/k" SWEEP_SKIP=yes
check 'to the same bytes' eval "[ $killed -gt 2 ] && sums '$S/k' | diff - '$S/a.sum'"

# ---- stages of one's own ----------------------------------------------------------
printf '#!/bin/sh\ncat >/dev/null; case "$*" in *x4-k8*) echo "{\\"score\\": 0.9}";; *) echo "{\\"score\\": 0.5}";; esac\n' >"$S/interp"
chmod +x "$S/interp"
run "$S/a" $small SWEEP_TOLERANCE=1000 AUTOINTERP="$S/interp" >"$S/log" 2>&1
check 'AUTOINTERP fills its column and counts in the decision' eval "[ \$(cut -f 16 '$S/a/$P/results.tsv' | grep -c 0.5) = 3 ] && jq -e '.as_good == [\"x4-k8-lr1e-3-t4k-skip\"]' '$S/a/$P/decision.json' && ! grep -q 'is empty' '$S/a/$P/report.md'"

# scores from phase 3's labeller, here a server of the tests
mkdir "$S/srv"
python3 tests/lib/badllm.py "$S/srv" & server=$!
trap 'kill $server; rm -rf "$S"' EXIT
for _ in $(seq 100); do [ -e "$S/srv/port" ] && break; sleep 0.1; done
export ANTHROPIC_API_KEY=sk-sesame-0123456789 no_proxy=127.0.0.1
scores() { PHASE=phase1-scores run "$S/a" $small LABEL_PROVIDER=anthropic LABEL_MODEL=good AUTOINTERP_LATENTS=6 \
	LABEL_EXTRA="--base-url http://127.0.0.1:$(cat "$S/srv/port")" "$@"; }
check 'phase1-scores' scores
check 'gives each configuration a score of six latents' eval "[ \$(cut -f 16 '$S/a/$P/results.tsv' | grep -c '^[01]\.*[0-9]*$') = 4 ] && cat '$S/a/$P'/x*/autointerp.json && jq -se 'length == 4 and all(.labels == 6 and .scored == 6 and .score >= 0 and .score <= 1 and .se >= 0)' '$S/a/$P'/x*/autointerp.json && ! grep -q 'is empty' '$S/a/$P/report.md'"
asked=$(wc -l <"$S/srv/asked")
scores >"$S/log" 2>&1
check 'a second time does nothing' eval "! grep -qE 'SCORE|EVAL|SWEEP' '$S/log'"
rm "$S/a/$P"/x*/autointerp.json
check 'answers are not asked for again' eval "scores && [ $asked = \$(wc -l <'$S/srv/asked') ]"
run "$S/n" DEPTH= >"$S/log" 2>&1
check 'no DEPTH: said so' grep -q 'set DEPTH' "$S/log"
for d in '28 2,14,26' '30 2,15,28' '32 2,16,30' '12 1,6,11' '1 0'; do
	run "$S/n" DEPTH="${d% *}" -n >"$S/log" 2>&1
	check "pilot layers of ${d% *}" grep -q "of layers ${d#* } in" "$S/log"
done

# ---- phase 2 reads the decision ---------------------------------------------------
want() { cat "$1/tiny/quick/.want/train"; }
PHASE=phase2
rm -rf "$S/b"; mkdir -p "$S/b/tiny"; cp -r "$S/a/tiny/quick" "$S/b/tiny/"; rm -rf "$S/b/$P"
GOAL=.want/train run "$S/b" >/dev/null
check 'without a decision: the settings of the release' grep -qE -- '@?[0-9a-f]* --expansion 4 -k 8 --tokens 8k --batch 512 --seed 1$' "$S/b/tiny/quick/.want/train"
cat >"$S/a/$P/decision.mk" <<'END'
EXPANSION := 2
K := 4
LR := 3e-3
TOKENS := 4k
SKIP := no
DECISION := x2-k4-lr3e-3-t4k-noskip
END
check 'phase 2 with one' run "$S/a"
check 'takes its settings' grep -qF -- '--expansion 2 -k 4 --tokens 4k --batch 512 --seed 1 --lr 3e-3 --no-skip' "$S/a/tiny/quick/.want/train"
check 'and says so' grep -qF 'settings: phase 1 chose x2-k4-lr3e-3-t4k-noskip' "$S/a/tiny/quick/report.md"
GOAL=.want/train run "$S/a" K=7 >/dev/null
check 'the command line has the last word' grep -qF -- '--expansion 2 -k 7 ' "$S/a/tiny/quick/.want/train"

# ---- the rule -----------------------------------------------------------------------
# decides WANT DEAD TOLERANCE: of lines  name ce_increase dead[/in training] autointerp [its error]
decides() {
	{ head -n 1 "$S/a/$P/results.tsv"
	while read -r name ce dead score se; do
		train=; [[ $dead != */* ]] || train=${dead#*/}
		IFS=- read -r x k _ _ _ _ <<<"${name//lr1e-3/lr}"
		printf '%s\t%s\t%s\t%s\t1e-3\t%s\tyes\t0.3\t%s\t0.01\t1\t%s\t%s\t%s\t100\t%s\t%s\n' "$name" "${x#x}" "$((${x#x} * 64))" "${k#k}" \
			"$(sed 's/.*-t\(.*\)-skip/\1/' <<<"$name")" "$ce" "${k#k}" "${dead%/*}" "${train:-?}" "$score" "${se:-?}"
	done; } >"$S/r.tsv"
	python3 pipelines/sweep.py decide "$S/r.tsv" "$2" "$3" >"$S/d.json" && [ "$(jq -r .chosen "$S/d.json")" = "$1" ]
}
rule() { local what=$1; shift; if decides "$@"; then ok "$what"; else sed 's/^/# /' "$S/d.json" | head -n 3; not "$what"; fi; }
rule 'the lowest, where none is as good' x8-k16-lr1e-3-t1M-skip 0.1 0.1 <<'END'
x8-k16-lr1e-3-t1M-skip 0.10 0 ?
x4-k8-lr1e-3-t1M-skip 0.12 0 ?
END
rule 'the fewest active, of those as good' x8-k8-lr1e-3-t1M-skip 0.1 0.1 <<'END'
x4-k16-lr1e-3-t1M-skip 0.10 0 ?
x8-k8-lr1e-3-t1M-skip 0.109 0 ?
x2-k4-lr1e-3-t1M-skip 0.112 0 ?
END
rule 'then the narrowest, then the shortest run' x4-k8-lr1e-3-t900k-skip 0.1 0.1 <<'END'
x8-k8-lr1e-3-t900k-skip 0.10 0 ?
x4-k8-lr1e-3-t1M-skip 0.101 0 ?
x4-k8-lr1e-3-t900k-skip 0.102 0 ?
END
rule 'not the dead' x8-k16-lr1e-3-t1M-skip 0.1 0.1 <<'END'
x4-k8-lr1e-3-t1M-skip 0.05 0.11 ?
x8-k16-lr1e-3-t1M-skip 0.10 0.1 ?
END
rule 'who were alive in training are not' x4-k8-lr1e-3-t1M-skip 0.1 0.1 <<'END'
x4-k8-lr1e-3-t1M-skip 0.05 0.11/0.02 ?
x8-k16-lr1e-3-t1M-skip 0.10 0.1/0.2 ?
END
rule 'unless all are' x4-k8-lr1e-3-t1M-skip 0.1 0.1 <<'END'
x4-k8-lr1e-3-t1M-skip 0.05 0.5 ?
x8-k16-lr1e-3-t1M-skip 0.10 0.3 ?
END
rule 'scores, when all have one' x8-k16-lr1e-3-t1M-skip 0.1 0.1 <<'END'
x4-k8-lr1e-3-t1M-skip 0.10 0 0.7
x8-k16-lr1e-3-t1M-skip 0.10 0 0.73
END
rule 'but not by less than they err' x4-k8-lr1e-3-t1M-skip 0.1 0.1 <<'END'
x4-k8-lr1e-3-t1M-skip 0.10 0 0.7 0.012
x8-k16-lr1e-3-t1M-skip 0.10 0 0.73 0.012
END
rule 'by more they go' x8-k16-lr1e-3-t1M-skip 0.1 0.1 <<'END'
x4-k8-lr1e-3-t1M-skip 0.10 0 0.7 0.012
x8-k16-lr1e-3-t1M-skip 0.10 0 0.74 0.012
END
rule 'not when some have none' x4-k8-lr1e-3-t1M-skip 0.1 0.1 <<'END'
x4-k8-lr1e-3-t1M-skip 0.10 0 ?
x8-k16-lr1e-3-t1M-skip 0.10 0 0.73
END
exit $rc
