#!/bin/bash
# track.sh TRACKER FOLDER PROJECT: hands the metrics of every run under
# FOLDER (a DATA/RELEASE/PROFILE) to TRACKER; see r1-phases(7), make track.
set -eu -o pipefail
tracker=$1 folder=$2 project=$3
: "${R1TRACK:=bin/r1track}" "${PYTHON:=/usr/bin/env python3}" "${FOLLOW:=}"
out=${TRACK_OUT-}

case $tracker in
tensorboard) out=${out:-$folder/tensorboard} ;;
trackio | mlflow) ;;
wandb) export WANDB_DIR=${WANDB_DIR:-$folder}; mkdir -p "$WANDB_DIR" ;;
*) echo "track: TRACKER is tensorboard, trackio, mlflow or wandb, found '$tracker'" >&2; exit 2 ;;
esac

# NAME FILE of each run: the parts of phase 2 as they are written, or the whole
runs() {
	local f n
	for f in "$folder"/parts/*/metrics.jsonl; do
		[ -e "$f" ] || continue
		n=${f%/metrics.jsonl}; n=${n##*/}
		[ "$n" = all ] && n=phase2 || n=phase2-$n
		printf '%s\t%s\n' "$n" "$f"
	done
	for f in "$folder"/phase1/*/run/metrics.jsonl; do
		[ -e "$f" ] || continue
		n=${f%/run/metrics.jsonl}
		printf 'phase1-%s\t%s\n' "${n##*/}" "$f"
	done
}

hand() {	# NAME: lines on stdin
	if [ "$tracker" = wandb ]; then $PYTHON pipelines/track_wandb.py "$project" "$1"
	else "$R1TRACK" --to "$tracker" ${out:+--out "$out"} --project "$project" --run "$1"; fi
}

list=$(runs)
[ -n "$list" ] || { echo "track: no metrics under $folder: nothing was trained there" >&2; exit 1; }
pids=
while IFS=$'\t' read -r name file; do
	echo "  TRACK   $name"
	if [ -n "$FOLLOW" ]; then
		tail -n +1 -F "$file" 2>/dev/null | hand "$name" &
		pids="$pids $!"
	else
		hand "$name" <"$file"
	fi
done <<<"$list"
[ -z "$pids" ] || { trap 'kill $(jobs -p) 2>/dev/null' INT TERM; wait; }
[ -z "$out" ] || echo "track: $out"
