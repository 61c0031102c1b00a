#!/bin/bash
# fetch.sh: r1fetch against a server that redirects, drops, stalls, lies and
# refuses (tests/lib/badserver.py, loopback only). TAP on stdout. With
# ORACLE_PYTHON (a Python that has huggingface_hub) its library must be able to
# read the cache.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
export PATH=${BIN:-$root/bin}:$PATH
T=$(mktemp -d) || exit 1
server=
trap '[ "$server" ] && kill $server; rm -rf "$T"' EXIT
mkdir "$T/srv"
python3 tests/lib/badserver.py "$T/srv" &
server=$!
for _ in $(seq 100); do [ -e "$T/srv/ports" ] && break; sleep 0.1; done
read -r hub _ <"$T/srv/ports" || { echo "not ok fetch: no server"; exit 1; }
commit=0123456789abcdef0123456789abcdef01234567
big=$T/srv/big
sha=$(sha256sum "$big" | cut -d' ' -f1)
log=$T/srv/log
unset HF_HUB_CACHE HF_TOKEN_PATH HF_HUB_OFFLINE XDG_CACHE_HOME http_proxy https_proxy all_proxy
export HF_ENDPOINT=http://127.0.0.1:$hub HF_TOKEN=sesame HOME=$T/home no_proxy=127.0.0.1
url=$HF_ENDPOINT/plain
quick="--wait 0.05 --tries 4"
cd "$T" || exit 1

rc=0
ok() { echo "ok fetch: $1"; }
# check NAME COMMAND...: passes when the command does
check() {
	local name=$1; shift
	if "$@"; then ok "$name"; else
		echo "not ok fetch: $name"; sed 's/^/# /' err 2>/dev/null; rc=1; fi
}
# fetch ARGS: out and err, and the exit code in $got; a new cache each time
# unless keep=1
keep=0
fetch() {
	[ $keep = 1 ] || rm -rf "$T/hf"
	: >"$log"
	HF_HOME=$T/hf r1fetch $quick "$@" >out 2>err
	got=$?
}
says() { grep -q -- "$1" err; }
# refused NAME MESSAGE ARGS: exit 1, one clear line, nothing under a final name
refused() {
	local name=$1 message=$2; shift 2
	fetch "$@"
	check "$name: refused" test $got = 1
	check "$name: says why" says "$message"
	check "$name: prints no path" test ! -s out
	check "$name: leaves no half file" test -z "$(find "$T/hf" -type l 2>/dev/null; find "$T/hf" -path '*/blobs/*' ! -name '*.incomplete' 2>/dev/null)"
}
# good NAME: the large file of org/NAME arrives whole
good() {
	fetch "hf:org/$1@main:model.safetensors"
	check "$1: exit 0" test $got = 0
	check "$1: right bytes" cmp -s "$(cat out)" "$big"
}

# ---- the cache's layout ----
fetch hf:org/good@main:model.safetensors
d=$T/hf/hub/models--org--good
check "prints the snapshot's path" test "$(cat out)" = "$d/snapshots/$commit/model.safetensors"
check "blob under its digest" cmp -s "$d/blobs/$sha" "$big"
check "relative link" test "$(readlink "$d/snapshots/$commit/model.safetensors")" = "../../blobs/$sha"
check "ref" test "$(cat "$d/refs/main")" = $commit
check "lock file" test -e "$T/hf/hub/.locks/models--org--good/$sha.lock"
check "no leftovers" test -z "$(find "$T/hf" -name '*.incomplete' -o -name '*.tmp')"
check "the hub gets the token" grep -q '^hub HEAD .* token$' "$log"
check "the CDN does not" sh -c "grep -q '^cdn GET .* -\$' $log && ! grep -q '^cdn .* token\$' $log"
check "no token in messages" sh -c '! grep -q sesame err out'
keep=1
fetch hf:org/good@$commit:model.safetensors
check "cached commit: no request" test $got = 0 -a ! -s "$log"
fetch --sha256 "$sha" hf:org/good:model.safetensors
check "cached and pinned: no request" test $got = 0 -a ! -s "$log"
HF_HUB_OFFLINE=1 fetch hf:org/good:model.safetensors
check "offline: from the cache" test $got = 0 -a ! -s "$log"
HF_HUB_OFFLINE=1 fetch hf:org/good:config.json
check "offline: absent file refused" sh -c "test $got = 1 && grep -q HF_HUB_OFFLINE err"
fetch hf:org/good:model.safetensors
check "a branch is looked up, the blob is not fetched again" sh -c "grep -q HEAD $log && ! grep -q GET $log"
fetch --out here/link hf:org/good@$commit:config.json
check "--out links to it" grep -q llama here/link
keep=0

# ---- whole repositories ----
fetch hf:org/good
check "model: folder" test "$(cat out)" = "$d/snapshots/$commit"
check "model: what it needs, no more" test "$(cd "$d/snapshots/$commit" && find . -type l | sort | tr '\n' ' ')" = "./config.json ./model.safetensors "
keep=1
fetch hf:org/good@$commit
check "model: cached commit, no request" test $got = 0 -a ! -s "$log"
fetch hf:org/good@$commit --include '*.txt' --include 'sub/*'
check "model: patterns" test "$(cd "$d/snapshots/$commit" && find . -name '*.txt' -o -name extra.json | sort | tr '\n' ' ')" = "./notes.txt ./sub/deep/extra.json "
check "model: deep link" grep -q '{}' "$d/snapshots/$commit/sub/deep/extra.json"
rm -rf "$T/hf"
fetch hf:org/good@$commit -i notes.txt -i sub/deep/extra.json
check "model: files by name" test "$(cd "$d/snapshots/$commit" && find . -type l | sort | tr '\n' ' ')" = "./notes.txt ./sub/deep/extra.json "
check "model: files by name, without a listing" sh -c "! grep -q /api/ $log"
fetch hf:org/good@$commit -i notes.txt -i sub/deep/extra.json
check "model: files by name, no request" test $got = 0 -a ! -s "$log"
keep=0
fetch hf-dataset:org/good
check "data set: all of it" test "$(find "$T/hf/hub/datasets--org--good/snapshots/$commit" -type l | wc -l)" = 4
if [ "${ORACLE_PYTHON-}" ]; then
	fetch hf:org/good --include '*'
	check "readable by huggingface_hub" env HF_HOME="$T/hf" "$ORACLE_PYTHON" -c "
import huggingface_hub as h
p = h.hf_hub_download('org/good', 'sub/deep/extra.json', local_files_only=True)
assert open(p).read() == '{}\n'
assert h.snapshot_download('org/good', local_files_only=True).endswith('$commit')
info = h.scan_cache_dir()
assert not info.warnings and info.repos and sum(r.nb_files for r in info.repos) == 4, info"
	keep=1
	: >"$log"
	check "and it fetches nothing again" env HF_HOME="$T/hf" HF_HUB_DISABLE_PROGRESS_BARS=1 HF_HUB_DISABLE_XET=1 "$ORACLE_PYTHON" -c "
import huggingface_hub as h
h.hf_hub_download('org/good', 'model.safetensors')"
	check "by GET" sh -c "! grep -q GET $log"
	keep=0
fi

# ---- networks and servers that fail ----
good old
good drop
check "drop: went on where it stopped" grep -q 'bytes=200000-' "$log"
good drop-at-once
good norange
check "norange: noticed" says 'sends the whole again'
good no-length
good badhash-once
check "badhash-once: noticed" says 'fetching it anew'
good e500
start=$(date +%s)
good busy
check "busy: waited as told" test $(($(date +%s) - start)) -ge 2
good head-busy
fetch --stall 2 hf:org/stall:model.safetensors
check "stall: goes on" test $got = 0
check "stall: right bytes" cmp -s "$(cat out)" "$big"
check "stall: resumed" grep -q 'bytes=50000-' "$log"
good gated
HF_TOKEN=wrong refused "gated, wrong token" 'answered 401 (the token was not accepted' hf:org/gated:model.safetensors
HF_TOKEN= refused "gated, no token" 'a token may be needed' hf:org/gated:model.safetensors
mkdir -p home; printf 'sesame\n' >home/tok
HF_TOKEN= HF_TOKEN_PATH=$T/home/tok fetch hf:org/gated:model.safetensors
check "token from a file" test $got = 0
refused missing 'answered 404' hf:org/missing:model.safetensors
refused "absent file" 'answered 404' hf:org/good:nothing.bin
refused never 'gave up after 4 tries' hf:org/never:model.safetensors
refused broken 'gave up after 4 tries.*503' hf:org/broken:model.safetensors
refused tomorrow 'come back in 86400 s' hf:org/come-back-tomorrow:model.safetensors
refused "length too long" 'the server has 301000 bytes, wanted 300000' hf:org/cl-long:model.safetensors
refused "length too short" 'the server has 299000 bytes, wanted 300000' hf:org/cl-short:model.safetensors
refused "more than said" 'sends more than the 300000' hf:org/no-length-long:model.safetensors
refused "less than said" '295000 of 300000' hf:org/no-length-short:model.safetensors
refused "wrong range" 'sent bytes from 100001, wanted from 100000' hf:org/wrong-range:model.safetensors
refused badhash "wanted $sha" hf:org/badhash:model.safetensors
refused loop 'more than 10 redirects' hf:org/loop:model.safetensors
refused downhill 'no http(s) address' hf:org/downhill:model.safetensors
refused "evil tag" 'no usable ETag' hf:org/evil-etag:config.json
refused "evil path" 'stays inside' hf:org/evil-path
refused "wrong pin" "the Hub has sha256 $sha, wanted 0000" --sha256 "$(printf '0%.0s' {1..64})" hf:org/good:model.safetensors
refused "nothing matches" 'no file matches' hf:org/good --include '*.bin'
HF_ENDPOINT=http://127.0.0.1:1 refused "nobody listens" 'gave up' hf:org/good:config.json
check "nothing escaped" test -z "$(find "$T" -name 'evil*')"

# ---- killed and started again; a full disk ----
rm -rf hf
HF_HOME=$T/hf r1fetch hf:org/slow:model.safetensors >out 2>err & pid=$!
for _ in $(seq 100); do [ -s "hf/hub/models--org--slow/blobs/$sha.incomplete" ] && break; sleep 0.1; done
kill -9 $pid; wait $pid 2>/dev/null
check "killed: no file yet" test ! -e "hf/hub/models--org--slow/blobs/$sha"
keep=1
fetch hf:org/slow:model.safetensors
check "killed and rerun: right bytes" cmp -s "$(cat out)" "$big"
check "killed and rerun: went on" grep -q 'GET .* bytes=[1-9]' "$log"
keep=0
limited() { (trap '' XFSZ; ulimit -f 100; keep=1 fetch "$@"; exit $got); }
rm -rf hf; limited hf:org/good:model.safetensors; got=$?
check "full disk: exit 1" test $got = 1
check "full disk: says so" says 'incomplete: cannot write .* bytes: File too large'
check "full disk: no half file" test -z "$(find hf -name "$sha")"
keep=1
fetch hf:org/good:model.safetensors
check "full disk, then room: right bytes" cmp -s "$(cat out)" "$big"
check "two at once" sh -c "rm -rf hf; for i in 1 2 3; do HF_HOME=$T/hf r1fetch hf:org/slow:model.safetensors >o\$i & done; wait; cmp -s \"\$(cat o1)\" $big && cmp o1 o2 && cmp o2 o3"
check "two at once: one download" test "$(grep -c 'cdn GET /blob/slow - ' "$log")" = 1
keep=0

# ---- plain addresses ----
fetch "$url/good"
check "address: into the current folder" sh -c "test $got = 0 && cmp -s good $big"
fetch --sha256 "$sha" --out g2 "$url/drop"
check "address: dropped, resumed" cmp -s g2 "$big"
fetch --sha256 "$sha" --out g2 "$url/good"
check "address: there already, no request" test $got = 0 -a ! -s "$log"
head -c 70000 "$big" >g3.part
fetch --sha256 "$sha" --out g3 "$url/good"
check "address: resumed over runs" sh -c "cmp -s g3 $big && grep -q bytes=70000- $log"
head -c 70000 /dev/zero >g4.part
fetch --sha256 "$sha" --out g4 "$url/good"
check "address: bad leftovers are replaced" cmp -s g4 "$big"
fetch --out g5 "$url/changes"
check "address: a file that changes under way is not mixed" sh -c "test $got != 0 || python3 -c \"
a = open('g5', 'rb').read(); b = open('$big', 'rb').read()
raise SystemExit(a != b and a != b[::-1])\""
refused "address: wrong digest" 'sha256 is' --sha256 "$(printf '0%.0s' {1..64})" --out g6 "$url/good"
check "address: nothing left of it" test ! -e g6 -a ! -e g6.part
fetch --out g7 "$url/cl-long"
check "address: promised more than there is" cmp -s g7 "$big"
refused "address: never whole" 'gave up' --out g8 "$url/never"
check "address: no half file" test ! -e g8
refused "address: absent" 'answered 404' --out g8 "$url/missing"

# ---- files and packages ----
fetch --sha256 "$sha" "file:$big"
check "file: its path" test "$(cat out)" = "$big"
refused "file: wrong digest" 'sha256 is' --sha256 "$(printf '0%.0s' {1..64})" "file:$big"
refused "file: absent" 'No such file' file:/nowhere/at/all
mkdir -p shim w/demo
echo hello >w/demo/data.txt
(cd w && python3 -m zipfile -c ../demo-1.0-py3-none-any.whl demo)
real=$(command -v python3)
cat >shim/python3 <<-END
	#!/bin/sh
	case "\$*" in
	"-m pip download"*demo==1.0) echo noise; cp $T/demo-1.0-py3-none-any.whl . ;;
	"-m pip download"*) exit 1 ;;
	*) exec $real "\$@" ;;
	esac
END
chmod +x shim/python3
wsha=$(sha256sum demo-1.0-py3-none-any.whl | cut -d' ' -f1)
export R1_CACHE=$T/pkgs
with_shim() { PATH=$T/shim:$PATH fetch "$@"; }
with_shim --sha256 "$wsha" pypi:demo==1.0:demo/data.txt
check "pypi: a member" grep -q hello "$(cat out)"
rm shim/python3
fetch --sha256 "$wsha" pypi:demo==1.0
check "pypi: unpacked once" test "$(cat out)" = "$T/pkgs/pypi-demo-1.0"
refused "pypi: other digest" 'came from an archive' --sha256 "$sha" pypi:demo==1.0
refused "pypi: no such member" 'has no member' pypi:demo==1.0:demo/nothing
mkdir -p d/DEBIAN d/usr/share/doc/demo
printf 'Package: demo\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: demo\n' >d/DEBIAN/control
echo text >d/usr/share/doc/demo/text
dpkg-deb -b d demo.deb >/dev/null
printf '#!/bin/sh\ncase "$*" in *" download demo=1:2.0-1") ;; *) exit 1 ;; esac; cp %s .\n' "$T/demo.deb" >shim/apt-get
chmod +x shim/apt-get
with_shim deb:demo=1:2.0-1:/usr/share/doc/demo/text
check "deb: a member" grep -q text "$(cat out)"
with_shim deb:other
check "deb: the client's failure is ours" sh -c "test $got = 1 && grep -q 'apt-get: exit 1' err"
check "packages: no leftovers" test -z "$(find pkgs -name '*.tmp')"

# ---- misuse ----
for bad in nothing hf: hf:a/b/c hf:../x hf:org/x:../y hf:org/x:/y ftp://x/y pypi:x pypi:-r==1 'deb:a b' pypi:demo==1.0:../x deb:demo:/../x; do
	fetch "$bad"
	check "misuse: $bad" test $got = 2
done
fetch --sha256 xyz "file:$big"; check "misuse: digest" test $got = 2
fetch --sha256 "$sha" hf:org/good; check "misuse: digest of a folder" test $got = 2
fetch "http://me:pw@127.0.0.1:$hub/plain/good"
check "misuse: password in an address" sh -c "test $got = 2 && ! grep -q pw err"
exit $rc
