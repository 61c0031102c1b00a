# pipeline.sh: sourced by the tests of pipelines. Works at the checkout's root,
# in a scratch folder $S that goes at exit, on the release tests/lib/tiny.mk: a
# model of four layers and a corpus made here; a run takes about a second.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
: "${BIN:=$PWD/bin}"
S=$(mktemp -d) || exit 1
trap 'rm -rf "$S"' EXIT
rc=0

ok() { echo "ok pipeline: $1"; }
not() { echo "not ok pipeline: $1"; rc=1; }
# check WHAT COMMAND...: ok when COMMAND succeeds
check() {
	local what=$1
	shift
	if "$@" >"$S/check.log" 2>&1; then ok "$what"; else
		tail -n 15 "$S/check.log" | sed 's/^/# /'; not "$what"; fi
}

# run FOLDER [MAKE'S WORDS]: phase2, or $PHASE, of the tiny release into FOLDER, or its file
# $GOAL alone
run() {
	local data=$1
	shift
	make --no-print-directory -f pipelines/run.mk \
		"${GOAL+$data/tiny/quick/}${GOAL-${PHASE-phase2}}" RELEASE_DIR=tests/lib \
		RELEASE=tiny CORPUS_FILE="$S/docs.jsonl" DATA="$data" BIN="$BIN" "$@"
}

# digest FOLDER: of all that must be the same bytes whenever it is made
digest() {
	(cd "$1" && find . -type f ! -name times.tsv ! -name .lock ! -name '*.part' \
		! -path '*/parts/*' ! -name metrics.jsonl -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

# A few hundred documents of made-up words, the same everywhere.
awk 'BEGIN {
	n = split("the of reads and in layer to is that latent model for as with on token by what at a sum this it from or an be are which not have one", w, " ")
	x = 12345
	for (d = 0; d < 400; d++) {
		line = ""
		for (i = 0; i < 40; i++) {
			x = (x * 1103515245 + 12345) % 2147483648
			line = line (i ? " " : "") w[1 + int(x / 65536) % n]
		}
		printf "{\"text\": \"%s %d.\"}\n", line, d
	}
}' >"$S/docs.jsonl"
# What a suite may define anew: how it runs the pipeline, and which steps a run
# did by its log.
go() { run "$@"; }
steps() { sed -n 's/^  \([A-Z]*\) .*/\1/p' "$1" | sort -u | tr '\n' ' '; }
# redoes WHAT STEPS WORDS...: a go in $S/a with WORDS does just STEPS
redoes() {
	local what=$1 want=$2
	shift 2
	if ! go "$S/a" "$@" >"$S/log" 2>&1; then tail -n 5 "$S/log" | sed 's/^/# /'; not "$what"
	elif [ "$(steps "$S/log")" = "$want" ]; then ok "$what"
	else echo "# wanted: $want; did: $(steps "$S/log")"; not "$what"; fi
}
