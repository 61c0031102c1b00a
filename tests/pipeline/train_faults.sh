#!/bin/bash
# train_faults.sh: activations that are wrong or strange, checkpoints of another
# shape, a disk without room, a signal at any moment: each a clear line and what
# was there before still there. TAP on stdout.
set -u
cd "$(dirname "$0")/../.." || exit 1
golden=$PWD/tests/golden acts=$PWD/tests/lib/acts.py
export PATH=${BIN:-$PWD/bin}:$PATH
scratch=$(mktemp -d) || exit 1
trap 'umount "$scratch/small" 2>/dev/null; rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
rc=0
check() { if (set -o pipefail; eval "$2"); then echo "ok train_faults: $1"; else echo "not ok train_faults: $1"; rc=1; false; fi; }
refuses() {	# NAME EXIT TEXT ARGUMENT...: stdin is $in; one line on stderr
	local name=$1 code=$2 text=$3 got; shift 3
	tctrain "$@" <"$in" >out 2>err; got=$?
	check "$name" "[ $got = $code ] && [ \$(wc -l <err) = 1 ] && grep -qF -- \"$text\" err" ||
		sed 's/^/# /' err
}
weights() { (cd "$1" && find layers.* -type f | sort | xargs sha256sum); }

python3 - 150 >lists <<'PY'
import json, random, sys
r = random.Random(1)
for _ in range(int(sys.argv[1])):
    print(json.dumps([r.randrange(512) for _ in range(30)]))
PY
$acts tokens <lists >t.tok
m=$golden/tiny-llama
actdump --model $m --layers 0,2 --dtype f32 --raw <t.tok >good.act
opt="-x 4 -k 6 -b 100 --start-tokens 500 -n 4000"
# spoil SIDE WHAT > ACT: what becomes of good.act's layer 2
spoil() {
	/usr/bin/python3 -c '
import array, msgpack, sys
side, what = sys.argv[1:]
out, p, row = sys.stdout.buffer, msgpack.Packer(), 0
for o in msgpack.Unpacker(sys.stdin.buffer, max_buffer_size=1 << 31):
    if side in o:
        v, d = array.array("f", o[side][1]), 64
        for i in range(len(v) // d):
            if what in ("nan", "inf", "-inf") and row == 2000:
                v[i * d + 5] = float(what)
            if what == "dimension":
                v[i * d + 5] = 7
            if what == "all":
                v[i * d:(i + 1) * d] = array.array("f", [3] * d)
            if what == "copy":
                v[i * d + 6] = v[i * d + 5]
            if what == "giant" and row % 50 == 3:
                for j in range(d):
                    v[i * d + j] *= 1e4
            if what == "zero":
                v[i * d:(i + 1) * d] = array.array("f", [0] * d)
            row += 1
        o[side][1] = v.tobytes()
    out.write(p.pack(o))' "$@" <good.act
}
# ---- values that are none -------------------------------------------------------
tctrain $opt --out whole <good.act
where="layer 2, position 20, dimension 5: NaN or infinity"
for what in nan inf -inf; do
	spoil x $what >x.act; spoil y $what >y.act
	in=x.act; refuses "$what in the inputs" 1 "'x', $where" $opt --out x
	in=y.act; refuses "$what in the outputs" 1 "'y', $where" $opt --save-every 5 --out saved.$what
	tctrain $opt --save-every 5 --resume --out saved.$what <good.act
	check "$what: what was learnt before is kept, and goes on with a sound stream" \
		"cmp <(weights whole) <(weights saved.$what)"
done

# A model that computes such: told by the tool that sees them first, nothing made.
cp -r $m nan && chmod -R u+w nan
/usr/bin/python3 - nan/model.safetensors <<'PY'
import json, sys
with open(sys.argv[1], "r+b") as f:
    n = int.from_bytes(f.read(8), "little")
    w = json.loads(f.read(n))["model.layers.2.mlp.up_proj.weight"]
    assert w["dtype"] == "F32"
    f.seek(8 + n + w["data_offsets"][0])
    f.write(b"\xff" * 4)
PY
of_model() {	# TOOL TEXT ARGUMENT...: stdin is t.tok
	local name=$1 text=$2 got; shift 2
	$name --model nan "$@" <t.tok >out 2>err; got=$?
	check "a model's NaN, $name $1 $2" "[ $got = 1 ] && [ \$(wc -l <err) = 1 ] && grep -qxF -- \"$name: $text\" err && [ ! -e n ]" ||
		sed 's/^/# /' err
}
norm="layer 2: the norm of row 0's output is not finite"
of_model actdump "sequence 0, position 0: output of layer 2 holds NaN or infinity" --dtype bf16
of_model actdump "sequence 0, position 0: output of layer 2 holds NaN or infinity" --dtype f32
of_model tctrain "$norm" $opt --out n
of_model tctune "$norm" --transcoders $m/transcoders --out n
of_model tceval "$norm" --transcoders $m/transcoders
of_model tcexport "$norm" --transcoders $m/transcoders --out n

# ---- values that are odd ----------------------------------------------------------
finite='jq -se "map(.fvu) | all(. != null and . < 3)"'
for side in x y; do
	for what in dimension copy; do
		spoil $side $what >odd.act
		for v in topk jumprelu; do
			rm -rf odd; tctrain $opt --variant $v --out odd --metrics odd.jsonl <odd.act
			check "a ${what/copy/repeated dimension} in $side, $v: trains" "$finite odd.jsonl >/dev/null"
		done
	done
	spoil $side all >in.act; in=in.act
	refuses "$side all alike" 1 "all alike" $opt --out x
	spoil $side zero >in.act
	refuses "$side nought" 1 "all alike" $opt --out x
done
spoil x dimension >in.act
refuses "least squares without a ridge" 1 "layer 2: least squares: matrix not positive definite" $opt --ridge 0 --out x
spoil y giant >giant.act
tctrain $opt --out giant --metrics giant.jsonl <giant.act
check "rows out of proportion are left out and counted" \
	"jq -se '.[-1] | .layer == 2 and .outliers > 60 and .outliers < 100 and .outlier_share == .outliers / .tokens and .fvu < 1' giant.jsonl >/dev/null"
check "layer by layer" "jq -se '.[-2] | .layer == 0 and .outliers == 0' giant.jsonl >/dev/null"
tctrain $opt --outlier 0 --out giant --metrics giant.jsonl <giant.act
check "or not" "jq -se '.[-1].outliers == 0' giant.jsonl >/dev/null && $finite giant.jsonl >/dev/null"

# ---- checkpoints of another shape ---------------------------------------------------
in=good.act
refuses "--init of another width" 1 "of 256 latents, widths 64 and 64, with skip; wanted transcoder of 320" $opt -x 5 --init whole --out x
refuses "--init without a skip connection" 1 "wanted" $opt --no-skip --init whole --out x
mkdir less && cp -r whole/layers.0.mlp less
refuses "--init that lacks a layer" 1 "less/layers.2.mlp" $opt --init less --out x
actdump --model $golden/tiny-llama3 --layers 0 --raw >narrow.act < <(echo '[1,2,3,4,5,6,7,8,9,10,11,12]' | $acts tokens)
in=narrow.act
refuses "--init of another model" 1 "d_in is 64, wanted 32" -x 8 -k 6 -b 4 --init whole --out x

# ---- a full disk --------------------------------------------------------------------
mkdir small
if mount -t tmpfs -o size=16m none small 2>/dev/null; then
	tctrain $opt --keep-state --out small/c <good.act
	weights small/c >before; cp small/c/state/manifest.json .
	mount -o remount,size=$(($(du -sk small | cut -f 1) + 200))k small
	tctrain $opt --seed 3 --save-every 10 --keep-state --out small/c <good.act 2>err; got=$?
	check "no room: told in one line" "[ $got = 1 ] && [ \$(wc -l <err) = 1 ] && grep -q 'small/c.*No space left' err"
	check "and the checkpoint before is whole" "weights small/c | cmp - before && cmp manifest.json small/c/state/manifest.json"
else
	echo "ok train_faults: a full disk # SKIP needs root to mount a small file system"
fi

# ---- a signal before there is anything to save --------------------------------------
# and while the stream, a pipe that stays open, is waited for
mkfifo pipe
# waiting GIVEN WATCHED TEXT TOOL ARGUMENT...: GIVEN into the pipe, SIGTERM when
# WATCHED holds TEXT; its status in $got
waiting() {
	local given=$1 watched=$2 text=$3 pid; shift 3
	timeout -s KILL 100 "$@" <pipe 2>err &
	pid=$!
	exec 4>pipe; cat "$given" >&4
	for _ in {1..600}; do grep -qs -- "$text" "$watched" && break; sleep 0.05; done
	kill -TERM $pid
	wait $pid; got=$?
	exec 4>&-
}
head -c 20000 good.act >begun.act; head -c 3000000 good.act >half.act; head -c 12000 t.tok >half.tok
waiting begun.act err 'layers of 256' tctrain $opt --progress --out early
check "SIGTERM before the first step" "[ $got = 75 ] && tail -n 1 err | grep -q 'nothing to save' && [ ! -e early/state ]"
saved="[ \$got = 75 ] && [ \$(wc -l <err) = 1 ] && grep -q 'is saved, --resume goes on' err"
waiting half.act waits.jsonl '"step":15,' tctrain $opt --save-every 0 --out waits --metrics waits.jsonl
check "SIGTERM while stored activations are waited for" "$saved"
tctrain $opt --resume --out waits <good.act
check "and on to the same bytes" "cmp <(weights whole) <(weights waits)"
waiting half.tok waitf.jsonl '"step":15,' tctrain --model $m --layers 0,2 $opt --save-every 0 --out waitf --metrics waitf.jsonl
check "SIGTERM while tokens are waited for" "$saved"
tctrain --model $m --layers 0,2 $opt --resume --out waitf <t.tok
check "and on to the same bytes, too" "cmp <(weights whole) <(weights waitf)"
tune="tctune --model $m --transcoders $m/transcoders --batch 300 -n 3000"
$tune --out tuned <t.tok
waiting half.tok waitt.jsonl '"step":8,' $tune --save-every 0 --out waitt --metrics waitt.jsonl
check "SIGTERM while tctune waits" "$saved"
$tune --resume --out waitt <t.tok
check "and on to the same bytes, there too" "cmp <(weights tuned) <(weights waitt)"
exit $rc
