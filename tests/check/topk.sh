#!/bin/bash
# topk.sh: topk-examples against a second implementation of its rules, shards
# against one run, what it refuses, and what must not change its output. TAP.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH=${BIN:-$PWD/bin}:$PATH
python=/usr/bin/python3		# Debian's, which has msgpack and zstandard
golden=$PWD/tests/golden root=$PWD
w=$(mktemp -d) || exit 1
trap 'rm -rf "$w"' EXIT
rc=0
ok() { echo "ok topk: $1"; }
not() { echo "not ok topk: $1"; rc=1; }
check() { if eval "$2"; then ok "$1"; else not "$1"; fi; }

model=$golden/tiny-llama tc=$golden/tiny-llama/transcoders
ex() { topk-examples --model "$model" --transcoders "$tc" "$@"; }

# Chats with masks, repeated texts, and documents that share sequences.
$python - "$root" >"$w/docs.jsonl" <<'END'
import json, sys
text = open(sys.argv[1] + "/CONTRIBUTING.md").read()
parts = [text[i:i + 300] for i in range(0, 3600, 300)]
for i, p in enumerate(parts):
    print(json.dumps({"text": parts[i % 5] if i % 3 == 0 else p}))
END
qtok --tokenizer "$model" --ctx 48 <"$w/docs.jsonl" >"$w/t.tok" || not 'tokens'
# the think and answer masks, by hand
r1cat -w -f "$w/t.tok" | jq -c 'if .r1 then . else .mask = [range(.ids | length) | . % 4] end' |
	r1cat -j >"$w/m.tok"

ex --batch 100 --latents <"$w/m.tok" >"$w/lat" && ex --batch 100 <"$w/m.tok" >"$w/one" &&
	$python tests/lib/examples_ref.py "$w/lat" "$w/one" || rc=1
ex --top 3 --spare 1 --per-doc 1 --sample 4 --strata 2 --random 3 --before 5 --after 0 --skip 0 --logits 0 \
	--latents <"$w/m.tok" >"$w/lat0"
ex --top 3 --spare 1 --per-doc 1 --sample 4 --strata 2 --random 3 --before 5 --after 0 --skip 0 --logits 0 \
	<"$w/m.tok" >"$w/small" && $python tests/lib/examples_ref.py "$w/lat0" "$w/small" || rc=1
$python tests/lib/decoder_ref.py "$model" "$tc" "$w/one" || rc=1
q=$golden/tiny-qwen2
topk-examples --model "$q" --transcoders "$q/transcoders" --logits 3 --near 7 <"$w/t.tok" >"$w/q" && $python tests/lib/decoder_ref.py "$q" "$q/transcoders" "$w/q" || rc=1
check 'both verify' 'r1cat -v "$w/one" "$w/lat" >/dev/null'

# The last layer's MLP is left out where only its input is wanted. An autoencoder
# wants its output.
mkdir "$w/auto" && cp -r "$tc"/layers.[13].mlp "$w/auto" && chmod -R u+w "$w/auto" &&
	sed -i 's/"transcode": true/"transcode": false/' "$w"/auto/*/cfg.json
# latents CKPT LAYERS: those of layer 1
latents() { topk-examples --model "$model" --transcoders "$1" --layers "$2" --latents <"$w/t.tok" | r1cat -w -f | jq -c 'select(.seq) | [.counts[0], .latents[0], .values[0]]'; }
for d in "$tc" "$w/auto"; do
	latents "$d" 1 >"$w/last"; latents "$d" 1,3 >"$w/first"
	check "the last layer as it is among others (${d##*/})" '[ -s "$w/last" ] && cmp "$w/last" "$w/first"'
	mv "$w/last" "$w/last-${d##*/}"
done
check 'an autoencoder reads the output' '! cmp -s "$w/last-transcoders" "$w/last-auto"'

# from latents/1: the same records
ex --batch 2048 <"$w/m.tok" >"$w/fused"
ex --batch 2048 --latents <"$w/m.tok" >"$w/lat"
ex <"$w/lat" >"$w/split"
check 'latents/1 gives the same' 'cmp <(r1cat -f "$w/split") <(r1cat -f "$w/fused")'
check 'without weights: no logits' '[ "$(topk-examples <"$w/lat" | r1cat -f | jq -s "map(select(.latent).top_ids[]) | length")" = 0 ]'

# shards, and shards of shards
for i in 0 1 2 3; do ex --batch 100 --threads 1 --shard $i/4 <"$w/m.tok" >"$w/s$i" || not "shard $i"; done
check 'shards merge to the bytes of one run' 'topk-examples --merge "$w"/s[2301] | cmp - "$w/one"'
topk-examples --merge "$w/s3" "$w/s1" >"$w/s13"; topk-examples --merge "$w/s0" "$w/s2" >"$w/s02"
check 'so do mergers' 'topk-examples --merge "$w/s13" "$w/s02" | cmp - "$w/one"'
check 'a part says which it is' '[ "$(r1cat -H "$w/s13" | jq -c "[.shards, .parts]")" = "[4,[1,3]]" ]'
check 'a part holds less' '! cmp -s "$w/s13" "$w/one"'
check 'latents/1 in shards' 'for i in 0 1; do ex --shard $i/2 <"$w/lat" >"$w/l$i"; done; topk-examples --merge "$w/l1" "$w/l0" | cmp - "$w/split"'
ex --batch 100 --threads 3 <"$w/m.tok" >"$w/3"
check 'threads change nothing' 'cmp "$w/3" "$w/one"'
ex --batch 100 --max-tokens 300 <"$w/m.tok" >"$w/few"
check '--max-tokens takes whole sequences' 'r1cat -H "$w/few" | jq -e ".positions <= 300 and .positions > 200" >/dev/null'
check 'JSON and back' 'r1cat -w -f "$w/one" | r1cat -j --raw | tail -c 5000 | cmp - <(r1cat -c --raw "$w/one" | tail -c 5000)'

# refuses WHAT EXIT PATTERN COMMAND...: one line on stderr, nothing on stdout
refuses() {
	local what=$1 want=$2 pattern=$3 got
	shift 3
	"$@" >"$w/out" 2>"$w/err"; got=$?
	if [ $got = "$want" ] && [ ! -s "$w/out" ] &&
	   [ "$(grep -vc 'see .* --help' "$w/err")" -le 1 ] && grep -qE -- "$pattern" "$w/err"
	then ok "$what"
	else
		echo "# exit $got, wanted $want and a line with '$pattern'; found"
		sed 's/^/# /' "$w/err" | head -n 5
		not "$what"
	fi
}
refuses 'tokens without a model' 2 'needs --model' topk-examples <"$w/m.tok"
refuses 'a model without transcoders' 2 'go together' topk-examples --model "$model" <"$w/m.tok"
refuses 'a shard beyond' 2 'I below N' ex --shard 4/4 <"$w/m.tok"
refuses 'files without --merge' 2 'go with --merge' topk-examples "$w/s0"
refuses 'empty stream' 1 'empty' ex </dev/null
refuses 'another kind' 1 'found acts/1' ex < <(actdump --model "$model" <"$w/t.tok")
head -c 700 "$w/m.tok" >"$w/cut"; refuses 'cut tokens' 1 'standard input' ex <"$w/cut"
refuses 'a shard without sequences' 1 'no sequence' ex --shard 999/1000 <"$w/m.tok"
head -c 100000 "$w/lat" >"$w/cut"; ex <"$w/cut" >/dev/null 2>"$w/err"
check 'cut latents' '[ $? != 0 ] && grep -q "standard input" "$w/err"'
refuses 'one part twice' 1 'part 1 of 4 is there twice' topk-examples --merge "$w/s1" "$w/s13"
refuses 'parts of different runs' 1 'provenance differs' topk-examples --merge "$w/s1" "$w/small"
head -c 20000 "$w/s1" >"$w/cut"; topk-examples --merge "$w/cut" "$w/s0" >"$w/out" 2>"$w/err"
check 'a cut part' '[ $? = 1 ] && grep -q "$w/cut" "$w/err" && ! r1cat -v "$w/out" >/dev/null 2>&1'
cp -r "$tc" "$w/tc"; chmod -R u+w "$w/tc"
printf '\1' | dd of="$w/tc/layers.1.mlp/sae.safetensors" bs=1 conv=notrunc status=none \
	seek=$(($(stat -c %s "$w/tc/layers.1.mlp/sae.safetensors") - 64))
refuses 'latents of other transcoders' 1 'other transcoders' topk-examples --model "$model" --transcoders "$w/tc" <"$w/lat"
refuses 'latents of another model' 1 'another model' topk-examples --model "$golden/tiny-qwen2" --transcoders "$golden/tiny-qwen2/transcoders" <"$w/lat"
ex <"$w/m.tok" >/dev/full 2>"$w/err"
check 'full disk' '[ $? = 1 ] && grep -q "No space" "$w/err"'
ex --metrics "$w/metrics" <"$w/m.tok" >/dev/null
check 'metrics' 'jq -se "last.sequences == $(r1cat -H "$w/one" | jq .sequences)" "$w/metrics" >/dev/null'
exit $rc
