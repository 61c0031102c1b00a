#!/bin/bash
# featexport.sh: what featexport writes, against the examples it was made from
# (tests/lib/features.py) and against delphi's own cache of the same rows
# (tests/oracle/delphi_oracle.py); what must not change its bytes; what it
# refuses. TAP.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH=${BIN:-$PWD/bin}:$PATH
python=/usr/bin/python3
golden=$PWD/tests/golden model=$PWD/tests/golden/tiny-llama
w=$(mktemp -d) || exit 1
trap 'rm -rf "$w"' EXIT
rc=0
ok() { echo "ok featexport: $1"; }
not() { echo "not ok featexport: $1"; rc=1; }
# check WHAT COMMAND...
check() { local what=$1; shift; if "$@" >"$w/check.log" 2>&1; then ok "$what"; else
	tail -n 6 "$w/check.log" | sed 's/^/# /'; not "$what"; fi; }
# refuses WHAT EXIT PATTERN WORDS...: one line on stderr, of input $in
refuses() {
	local what=$1 want=$2 pattern=$3 got
	shift 3
	featexport "$@" <"${in:-$w/ex}" >"$w/out" 2>"$w/err"; got=$?
	if [ $got = "$want" ] && [ ! -s "$w/out" ] && [ "$(wc -l <"$w/err")" = 1 ] && grep -qE -- "$pattern" "$w/err"
	then ok "$what"; else sed 's/^/# /' "$w/err"; not "$what (exit $got)"; fi
}

# Text with characters that tokens cut, and a latent that never fires.
for i in $(seq 30); do echo "the quick brown fox $i jumps — café 日本 \"quoted\\\" $((i * i))"; done >"$w/text"
qtok -t "$model" --ctx 64 <"$w/text" >"$w/tok" || not tokens
topk-examples -m "$model" -t "$model/transcoders" -l 1,3 --logits 25 --top 4 --sample 6 --strata 3 <"$w/tok" >"$w/ex" || not examples
r1cat -w -f "$w/ex" >"$w/ex.json"
$python - "$model/tokenizer.json" >"$w/tokens.json" <<'PY' || not 'texts of tokens'
import json, sys
t = json.load(open(sys.argv[1]))
plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
byte = {chr(b): b for b in plain}
byte.update({chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in plain)})
out = {v: [byte[c] for c in k] for k, v in t["model"]["vocab"].items()}
out.update({a["id"]: list(a["content"].encode()) for a in t["added_tokens"]})
print(json.dumps([out.get(i, []) for i in range(max(out) + 1)]))
PY
jq -c 'select(.latent) | select(.latent % 3 == 0) | {layer, feature_id: .latent, label: "label \(.latent) é", detection: 0.7, quality: 0.5},
	{layer, feature_id: .latent, label: "worse", detection: 0.6, fuzzing: 0.5, quality: 1}' "$w/ex.json" |
	cat <(echo '{"r1":1,"kind":"labels/1","model":"","transcoders":"","layers":[1,3]}') - | r1cat -j >"$w/l.lab" || not labels
sqlite3 "$w/l.db" 'CREATE TABLE autointerp(layer INTEGER, feature_id INTEGER, label TEXT)'
r1cat "$w/l.lab" | jq -r 'select(.label != "worse") | "INSERT INTO autointerp VALUES(\(.layer), \(.feature_id), '"'"'\(.label)'"'"');"' | sqlite3 "$w/l.db"

np='--name tiny --set set --creator someone --release rel --weights org/name/a/b --batch 50'
ex() { local out=$1; shift; featexport -t "$model" --out "$w/$out" "$@" <"$w/ex"; }
judge() { $python tests/lib/features.py "$1" "$w/$2" "$w/ex.json" "$w/tokens.json"; }
check 'features/ is written' ex ct --name tiny
check 'features/ holds the examples' judge circuit-tracer ct
# shellcheck disable=SC2086
for to in neuronpedia batches; do
	check "$to is written" ex $to --to $to $np --labels "$w/l.lab"
	check "$to holds the examples, and labels" judge $to $to
	ex $to-db --to $to $np --labels "$w/l.db"
	check "$to: labels of a database" diff -r "$w/$to" "$w/$to-db"
done
# latents that fire on token 1000 and up, of which this tokenizer has no text
{ echo '{"r1":1,"kind":"tokens/1","vocab":2000,"n_ctx":64,"dtype":"u32"}'
	for i in 0 1 2 3; do echo '{"seq":'$i',"ids":['"$(seq -s, $((1000 + 12 * i)) $((1020 + 12 * i)))"'],"docs":[['$i',0,0]]}'; done; } |
	r1cat -j | $python tests/lib/examples.py 1 1100 >"$w/wide"
featexport -t "$model" --to neuronpedia --name tiny --set set --creator x --out "$w/wide.np" <"$w/wide"
lines() { gzip -dc "$w/wide.np/v1/tiny/0-set/features/batch-$1.jsonl.gz" | jq -r .index | tr '\n' ' '; }
check 'a tree in blocks of 1024, dead latents left out' [ "$(lines 0)/$(lines 1)" = "$(seq -s' ' 1000 1023) /$(seq -s' ' 1024 1056) " ]
check 'no token is empty' eval "gzip -dc $w/wide.np/v1/tiny/0-set/activations/batch-1.jsonl.gz | jq -se 'all(.tokens[] == \"\ufffd\")'"

# ---- delphi ----
gold=$golden/publish/delphi
tests/lib/acts.py tokens 64 <"$gold/tokens.jsonl" >"$w/rows"
topk-examples -m "$model" -t "$model/transcoders" --skip 0 --latents <"$w/rows" >"$w/lat"
cat >"$w/delphi.py" <<'PY'
import array, json, os, sys
def load(path):
    with open(path, "rb") as f:
        head = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    head.pop("__metadata__", None)
    return {k: (v["dtype"], v["shape"], data[slice(*v["data_offsets"])]) for k, v in head.items()}
def f16(b):
    import struct
    return struct.unpack("<%de" % (len(b) // 2), b)
def firings(t):
    assert t["locations"][0] == "U16" and t["activations"][0] == "F16"
    at = array.array("H", t["locations"][2]).tolist()
    return sorted(zip(at[0::3], at[1::3], at[2::3], f16(t["activations"][2])))
gold, ours = sys.argv[1:]
names = sorted(n for n in os.listdir(gold) if n.endswith(".safetensors"))
assert names == sorted(n for n in os.listdir(ours) if n.endswith(".safetensors")), os.listdir(ours)
rows = [json.loads(s) for s in open(gold + "/tokens.jsonl")]
for n in names:
    a, b = load(f"{gold}/{n}"), load(f"{ours}/{n}")
    x, y = firings(a), firings(b)
    assert [v[:3] for v in x] == [v[:3] for v in y]
    assert max(abs(v[3] - u[3]) / v[3] for v, u in zip(x, y)) < 2e-3
    assert b["tokens"][1] == [len(rows), 64]
    assert array.array("I", b["tokens"][2]).tolist() == [i for r in rows for i in r]
c = json.load(open(ours + "/config.json"))
assert (c["cache_ctx_len"], c["n_tokens"], c["n_splits"], c["model_name"]) == (64, 64 * len(rows), 3, "org/m"), c
PY
delphi() { local out=$1; shift; featexport --to delphi --ctx 64 --splits 3 --name org/m --out "$w/$out" "$@" <"$w/lat"; }
check "delphi's cache is written" delphi delphi
check "it holds what delphi's own does" $python "$w/delphi.py" "$gold" "$w/delphi/latents/layers.2.mlp"
check 'nothing else is left' eval "[ -z \"\$(find $w/delphi -name '.*' -type f)\" ]"
check 'with labels: their latents alone, and explanations' eval "delphi some --labels $w/l.lab && [ \$(ls $w/some/explanations | wc -l) = \$(r1cat $w/l.lab | jq -r 'select(.label != \"worse\") | .layer' | wc -l) ] &&
	jq -e '. == \"label 9 é\"' $w/some/explanations/layers.3.mlp_latent9.txt && $python -c \"
import sys, json; sys.argv = ['', '$w/some/latents', '']
exec(open('$w/delphi.py').read().split('gold, ours')[0])
for l, want in ((0, 0), (3, 1)):
    for a in (0, 42, 85):
        n = [x for x in os.listdir(f'$w/some/latents/layers.{l}.mlp') if x.startswith(f'{a}_')][0]
        f = firings(load(f'$w/some/latents/layers.{l}.mlp/{n}'))
        assert (len(f) > 0) == want and all((v[2] + a) % 3 == 0 for v in f)\""
check 'rows are cut from the sequences laid end to end' eval "delphi cut --ctx 100 &&
	$python -c \"
import json
exec(open('$w/delphi.py').read().split('gold, ours')[0])
rows = [i for s in open('$gold/tokens.jsonl') for i in json.loads(s)]
n = len(rows) // 100
whole, cut = {}, {}
for where, ctx, to in (('$w/delphi', 64, whole), ('$w/cut', 100, cut)):
    for name in os.listdir(where + '/latents/layers.1.mlp'):
        if name.endswith('.safetensors'):
            t = load(where + '/latents/layers.1.mlp/' + name)
            to.update({(r * ctx + p, l + int(name.split('_')[0])): v for r, p, l, v in firings(t)})
assert t['tokens'][1] == [n, 100] and array.array('I', t['tokens'][2]).tolist() == rows[:n * 100]
assert cut == {k: v for k, v in whole.items() if k[0] < n * 100} and len(cut) < len(whole)\""

# ---- the same bytes ----
ex ct1 --name tiny --threads 1; ex ct4 --name tiny --threads 4
check '--threads changes no byte' diff -r "$w/ct1" "$w/ct4"
touch "$w/batches/1-set/batch-00099.json" "$w/delphi/latents/layers.2.mlp/0_9.safetensors"
# shellcheck disable=SC2086
ex batches --to batches $np --labels "$w/l.lab"; delphi delphi
check 'again: the same bytes, files of another run gone' eval "diff -r $w/batches $w/batches-db && $python $w/delphi.py $gold $w/delphi/latents/layers.2.mlp"

# ---- refusals ----
head -c $(($(stat -c %s "$w/ex") / 2)) "$w/ex" >"$w/half"
in=$w/half refuses 'a cut stream' 1 'standard input: ' -t "$model" --out "$w/cutct"
check 'leaves no index' eval "[ ! -e $w/cutct/index.json.gz ] && [ -z \"\$(find $w/cutct -name '*.tmp')\" ]"
in=$w/half refuses 'nor the one of before' 1 'standard input: ' -t "$model" --out "$w/ct4"
check 'which is gone' eval "[ ! -e $w/ct4/index.json.gz ]"
in=/dev/null refuses 'an empty stream' 1 'empty' -t "$model" --out "$w/x"
in=$w/lat refuses 'latents where examples are wanted' 1 'latents/1' -t "$model" --out "$w/x"
refuses 'examples where latents are wanted' 1 'examples/1' --to delphi --out "$w/x"
{ cat "$model/tokenizer.json"; echo; } >"$w/tokenizer.json"
refuses 'another tokenizer' 1 'another tokenizer' -t "$w/tokenizer.json" --out "$w/x"
refuses 'no --out' 2 '--out is missing' -t "$model"
refuses 'no --tokenizer' 2 '--tokenizer is missing' --out "$w/x"
refuses 'a tree of nobody' 2 '--creator' --to neuronpedia -t "$model" --out "$w/x"
refuses "a model's name that Neuronpedia refuses" 1 "the model's name: wanted .*found \"Tiny\"" --to batches --name Tiny -t "$model" --out "$w/x"
refuses "a set's name" 1 "source set's name: wanted .*found \"a--b\"" --to batches --name tiny --set a--b -t "$model" --out "$w/x"
refuses 'an explainer in capitals: the path of it' 1 'batch-00000.json: features\[[0-9]+\].explanations\[0\].modelName: wanted a name in lower case, found "GPT"' \
	--to batches --name tiny --explainer GPT --labels "$w/l.lab" -t "$model" --out "$w/x"
jq -nc '{layer: 1, feature_id: 1, label: ("x" * 600)}' | cat <(r1cat -H "$w/l.lab" | jq -c .) - | r1cat -j >"$w/long.lab"
refuses 'a label that is too long' 1 'features\[[0-9]+\].explanations\[0\].text: wanted 1 to 512 characters' \
	--to batches --name tiny --labels "$w/long.lab" -t "$model" --out "$w/x"
refuses 'labels that are none' 1 'text: ' --labels "$w/text" -t "$model" --out "$w/x"
sqlite3 "$w/other.db" 'CREATE TABLE t(x)'
refuses 'a database of something else' 1 'neither a view catalogue' --labels "$w/other.db" -t "$model" --out "$w/x"
in=$w/lat refuses 'too few tokens for a row' 1 'do not fill a row' --to delphi --ctx 60000 --out "$w/x"
refuses 'a folder that cannot be' 1 "$w/text" -t "$model" --out "$w/text/x"
(ulimit -f 8; trap '' XFSZ; ex full 2>"$w/err"); got=$?
check 'a disk that fills: told, no index' eval "[ $got = 1 ] && [ \$(wc -l <$w/err) = 1 ] && [ ! -e $w/full/index.json.gz ]"
exit $rc
