#!/bin/bash
# labeler_h2.sh: labeler over TLS and HTTP/2, which a real server speaks: nghttpx
# (Debian: nghttp2-proxy) in front of tests/lib/badllm.py, on this machine. Skipped
# where it is not installed.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
export PATH=${BIN:-$root/bin}:$PATH:/usr/sbin
command -v nghttpx >/dev/null && command -v openssl >/dev/null || {
	echo "ok labeler_h2: HTTP/2 # SKIP no nghttpx (Debian: nghttp2-proxy)"; exit 0; }
T=$(mktemp -d) || exit 1
server=() rc=0
trap 'kill "${server[@]}" 2>/dev/null; rm -rf "$T"' EXIT
mkdir "$T/srv"
cd "$T" || exit 1
check() {
	local name=$1
	shift
	if "$@" >check.log 2>&1; then echo "ok labeler_h2: $name"; else
		{ cat check.log; tail -n 5 err; } | sed 's/^/# /'; echo "not ok labeler_h2: $name"; rc=1; fi
}
python3 "$root/tests/lib/badllm.py" srv & server+=($!)
for _ in $(seq 100); do [ -e srv/port ] && break; sleep 0.1; done
read -r back <srv/port || { echo "not ok labeler_h2: no server"; exit 1; }
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
	-addext subjectAltName=IP:127.0.0.1 2>openssl.log || { echo "not ok labeler_h2: no certificate"; exit 1; }
front=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
nghttpx --conf=/dev/null -f"127.0.0.1,$front" -b"127.0.0.1,$back" --workers=1 --accesslog-file=access \
	--accesslog-format='$remote_port $alpn $status' --errorlog-file=nghttpx.log key.pem cert.pem >nghttpx.out 2>&1 & server+=($!)
for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$front") 2>/dev/null && break; sleep 0.1; done

tok=$root/tests/golden/tiny-llama/tokenizer.json
python3 -c 'for d in range(150): print("{\"text\": \"%s.\"}" % " ".join(("the of in is that for to and " * 5).split()[(d * 7 + i * i) % 40] for i in range(40)))' |
	qtok --tokenizer "$tok" --ctx 64 >t.tok && "$root/tests/lib/examples.py" 2 6 <t.tok >e.ex ||
	{ echo "not ok labeler_h2: no examples"; exit 1; }
unset http_proxy https_proxy all_proxy
ask() {
	local db=$1 url=$2
	shift 2
	ANTHROPIC_API_KEY=sk-sesame-0123456789 timeout 60 labeler -p anthropic --base-url "$url" --tokenizer "$tok" \
		-d "$db" -m busy --wait 0.02 --show 4 --test 4 --per-ask 4 --concurrency 6 --any-model "$@" <e.ex >out 2>err
}
rows() { sqlite3 "$1" 'select layer, feature_id, state, label, detection, fuzzing from catalogue'; }
SSL_CERT_FILE=$T/cert.pem ask h2.db "https://127.0.0.1:$front"
check "labels come" test $? = 0
mv srv/busy srv/busy-h2
ask h1.db "http://127.0.0.1:$back"
check "the same as over HTTP/1.1" test "$(rows h2.db)" = "$(rows h1.db)" -a "$(sqlite3 h2.db "select count(*) from label where state = 'ok'")" = 10
check "every answer came over HTTP/2" test "$(awk '$2 != "h2" || $3 != 200' access | wc -l)" = 0 -a "$(wc -l <access)" = 50
check "over one connection" test "$(cut -d' ' -f1 access | sort -u | wc -l)" = 1
check "and several at a time on it" test "$(sort -n srv/busy-h2 | tail -n 1)" -ge 4
n=$(wc -l <srv/log)
ask no.db "https://127.0.0.1:$front" --tries 3
check "a certificate nobody vouches for: exit 1, says so" sh -c "test $? = 1 && grep -qi 'certificate\|peer' err"
check "and no request, no key, was sent" test "$(wc -l <srv/log)" = "$n"
exit $rc
