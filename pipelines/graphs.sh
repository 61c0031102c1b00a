#!/bin/bash
# graphs.sh R1FETCH LIST_URL NEURONPEDIA SET FOLDER WORD...: fetches public
# attribution graphs into FOLDER. WORD haiku: every graph that LIST_URL names in
# data/graph-metadata.json. Any other is a slug of Neuronpedia's model SET.
set -eu -o pipefail
fetch=$1 list=$2 np=$3 set=$4 folder=$5
shift 5
mkdir -p "$folder"
get() { [ -s "$folder/$1.json" ] || $fetch --out "$folder/$1.json" "$2" >/dev/null; }
for word; do
	case $set in
	public-*)
		$fetch --out "$folder/.list" "$list/data/graph-metadata.json" >/dev/null
		jq -r '.graphs[].slug | select(test("^[A-Za-z0-9_.-]+$"))' "$folder/.list" | while read -r slug; do
			get "$slug" "$list/graph_data/$slug.json"
		done ;;
	*)
		$fetch --out "$folder/.about" "$np/api/graph/$set/$word" >/dev/null
		get "$word" "$(jq -er .url "$folder/.about")" ;;
	esac
done
