#!/bin/bash
# streams.sh: the format of r1-stream(5) from outside. The manual page's own
# Python reader and writer against the C ones, and streams that lie, each read
# by r1cat within bounded memory and time: one line, exit 1.
set -u
cd "$(dirname "$0")/../.." || exit 1
export PATH=${BIN:-$PWD/bin}:$PATH LC_ALL=C.UTF-8
python=/usr/bin/python3		# Debian's, which has msgpack and zstandard
page=$PWD/man/r1-stream.5 rc=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
ok() { echo "ok streams: $1"; }
not() { echo "not ok streams: $1"; rc=1; }
check() { if eval "$2"; then ok "$1"; else not "$1"; fi; }

# The lines of the example that follows .\" file NAME
example() {
	awk -v name="$1" '$1 == ".\\\"" && $2 == "file" { want = $3 == name; next }
		want && /^\.Bd/ { on = 1; next } on && /^\.Ed/ { exit }
		on { gsub(/\\&/, ""); gsub(/\\e/, "\\"); print }' "$page"
}
example writer.py >writer.py
example reader.py >reader.py
printf 'hello\nworld\n' >text
$python writer.py <text >py.tok
check "Python's writer is read" 'r1cat -v py.tok | grep -q "tokens/1, 2 records"'
check "Python's ids arrive" '[ "$(r1cat -f py.tok | head -n 1 | jq -c .ids)" = "[104,101,108,108,111,10]" ]'
r1cat -c py.tok py.tok >c.tok
check "Python reads what C wrote" '[ "$($python reader.py <c.tok | sort -u | head -n 1)" = "104 101 108 108 111 10" ]'
check "Python reads four records" '[ "$($python reader.py <c.tok | wc -l)" = 4 ]'
head -c 100 c.tok >cut.tok
check "Python notices a cut" '! $python reader.py <cut.tok >/dev/null 2>&1'
cat py.tok py.tok >cat.tok
check "concatenated bytes are one stream" 'r1cat -v cat.tok | grep -q "4 records"'
check "to JSON and back is the same stream" \
	'cmp <(r1cat -w -f py.tok | r1cat -j --raw | tail -c 60) <(r1cat -c --raw py.tok | tail -c 60)'
check "the zstd tool reads it" 'zstd -qt py.tok && zstd -lv py.tok 2>/dev/null | grep -q XXH64'

# acts/1 by hand: values survive a round trip in each dtype
for t in f32 f16 bf16; do
	{
		echo '{"r1":1,"kind":"acts/1","model":"","site":"mlp","dtype":"'$t'","d_in":2,"d_out":1,"layers":[3],"tokens":{"vocab":9,"n_ctx":8}}'
		echo '{"seq":0,"positions":[0,1],"ids":[1,2],"x":[[0.5,-2,1,0.25]],"y":[[1,-1]]}'
	} >a.json
	r1cat -j a.json >a.act
	check "$t values survive" '[ "$(r1cat -f a.act | jq -c "[.x, .y]")" = "[[[0.5,-2,1,0.25]],[[1,-1]]]" ] ||
		[ "$(r1cat -f a.act | jq -c "[.x, .y]")" = "[[[0.5,-2.0,1.0,0.25]],[[1.0,-1.0]]]" ]'
done

# Lies: what r1cat -v (or the typed reader, through --verify) says of each.
cat >lies.py <<'END'
import struct, sys, msgpack, zstandard
p = msgpack.packb
head = {"r1": 1, "kind": "tokens/1", "vocab": 9, "n_ctx": 8, "dtype": "u32"}
good = p(head) + p({"seq": 0, "ids": struct.pack("<2I", 1, 2), "docs": [[0, 0, 0]]})
end = p({"end": True, "records": 1})
def put(name, data, z=False):
    open(name, "wb").write(zstandard.ZstdCompressor(write_checksum=True).compress(data) if z else data)
put("empty", b"")
put("version", p(dict(head, r1=2)) + end)
put("nokind", p({"r1": 1}) + end)
put("noend", good)
put("count", good + p({"end": True, "records": 7}))
put("garbage", good + end + b"\xc1\xc1")
put("hugebin", p(head) + b"\x81\xa3ids\xc6\xff\xff\xff\xff" + b"x" * 100)
put("hugearray", p(head) + b"\x81\xa3ids\xdd\xff\xff\xff\xff" + b"\x01" * 100)
put("hugemap", p(head) + b"\xdf\xff\xff\xff\xff" + b"\x01" * 100)
put("deep", p(head) + b"\x81\xa1x" + b"\x91" * 100000)
put("many", p(head) + b"\x81\xa1x\xdd\x00\x50\x00\x00" + b"\x01" * 0x500000)
put("ext", p(head) + b"\x81\xa1x\xd4\x01\x01" + end)
put("bomb", p(head) + b"\x81\xa1x\xc6\x7f\xff\xff\xff" + bytes(1 << 28), True)
put("bombhead", b"\x81\xa1x\xc6\x03\xff\xff\xff" + bytes(1 << 28), True)
put("random", bytes((i * 7919 >> 3) & 255 for i in range(10000)))
put("notmap", p(head) + p([1, 2]) + end)
END
$python lies.py
# 400 MB of address space: well below what the lies announce (a sanitizer's own
# shadow alone needs terabytes)
limit=400000
case ${BIN-} in */asan/*|*/tsan/*) limit=unlimited ;; esac
for f in empty version nokind noend count garbage hugebin hugearray hugemap deep many bomb bombhead random notmap; do
	(ulimit -v $limit; exec timeout 20 r1cat -v "$f") >out 2>err
	got=$?
	if [ $got = 1 ] && [ "$(wc -l <err)" = 1 ] && grep -q "^r1cat: $f" err
	then ok "$f: $(cut -c 1-90 err)"
	else sed 's/^/# /' err; not "$f: exit $got"; fi
done
check "ext is refused when shown" '! r1cat ext >/dev/null 2>err && grep -q "ext" err'
exit $rc
