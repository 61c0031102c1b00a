#!/bin/bash
# autointerp.sh --model M --transcoders DIR --latents N < held.tok: how well N
# latents, the same number of each layer, can be told by their labels: the mean
# balanced accuracy of detection, as a JSON object with the members score and se,
# its standard error over latents. They are labelled by the model itself, or by
# LABEL_MODEL of LABEL_PROVIDER, with phase 3's options in the environment:
# EX_TOKENS EX_OPTS LABEL_OPTS LABEL_EXTRA SEED BIN. What was answered once stays
# in autointerp.sqlite beside DIR and is not asked again.
set -eu -o pipefail
while [ $# -gt 1 ]; do
	case $1 in
	--model) model=$2 ;;
	--transcoders) dir=$2 ;;
	--latents) n=$2 ;;
	*) break ;;
	esac
	shift 2
done
[ $# = 0 ] || { echo "autointerp.sh: unknown option '$1'" >&2; exit 2; }
layers=$(ls -d "$dir"/layers.*.mlp | wc -l)
db=$(dirname "$dir")/autointerp.sqlite
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
by=$model
[ "${LABEL_PROVIDER:-local}" = local ] || by=$LABEL_MODEL
# the words of options are split here
"${TOPK:-$BIN/topk-examples}" --model "$model" --transcoders "$dir" --max-tokens "${EX_TOKENS:-0}" \
	--seed "${SEED:-0}" ${EX_OPTS-} >"$made/examples"
"${LABELER:-$BIN/labeler}" --provider "${LABEL_PROVIDER:-local}" --model "$by" --tokenizer "$model" \
	--per-layer $(((n + layers - 1) / layers)) --seed "${SEED:-0}" ${LABEL_OPTS-} ${LABEL_EXTRA-} \
	--scores detection --db "$db" <"$made/examples" >"$made/labels"
"$BIN/r1cat" "$made/labels" | ${PYTHON:-python3} -c '
import json, sys
rows = [r for r in map(json.loads, sys.stdin) if r["state"] == "ok"]    # asked for
scores = [r["detection"] for r in rows if r.get("detection") is not None]
if not scores:
    sys.exit(f"autointerp.sh: of {len(rows)} labels none has a score")
n = len(scores)
mean = sum(scores) / n
se = (sum((s - mean) ** 2 for s in scores) / (n - 1) / n) ** 0.5 if n > 1 else None
print(json.dumps({"score": mean, "se": se, "scored": n, "labels": len(rows)}))'
