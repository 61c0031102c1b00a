#!/bin/bash
# real_server.sh CHAT_URL [EMBED_URL]: labeler against a real server with OpenAI's
# API: labels and tests of three latents, and what they are by embeddings; then
# again, when nothing may be asked. What is checked is that answers come, are kept
# and are asked for once; SmolLM2's own often do not end, and are kept as failed
# (SmolLM2 at temperature 0 repeats itself: PENALTY, default 0.5, is sent with each
# request). No part of `make test`.
#
#   M=$(tests/lib/smollm2.sh)
#   python -m llama_cpp.server --model $M --port 8080     # llama-cpp-python[server], or
#   python tests/oracle/llama_server.py $M chat           # xllamacpp; prints its URL
#   python tests/oracle/llama_server.py $M embed
#   tests/oracle/real_server.sh http://127.0.0.1:8080/v1 http://127.0.0.1:8081/v1
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
export PATH=$PWD/bin:$PATH no_proxy=127.0.0.1
T=$(mktemp -d) && trap 'rm -rf "$T"' EXIT
tok=$PWD/tests/golden/tiny-llama/tokenizer.json rc=0
check() { local name=$1; shift; if "$@"; then echo "ok $name"; else echo "not ok $name"; rc=1; fi; }
head -c 20000 README.md | qtok --tokenizer "$tok" --ctx 64 | tests/lib/examples.py 1 6 >"$T/e.ex" || exit 1
printf '0 4\n0 5\n' >"$T/list"
scores=both embed=()
[ $# -gt 1 ] && scores=all embed=(--embed-url "$2" --embed-model default)
ask() {
	OPENAI_API_KEY='' labeler -p openai --base-url "$1" -m default --any-model --tokenizer "$tok" "${embed[@]}" \
		--show 3 --test 3 --per-ask 6 --window 12 --max-tokens 200 --prompt small --scores "$scores" \
		--param temperature=0 --param frequency_penalty="${PENALTY:-0.5}" --list "$T/list" --concurrency 2 \
		--attempts 2 -d "$T/db" <"$T/e.ex" >"$T/lab" 2>"$T/err"
}
count() { sqlite3 "$T/db" "SELECT count(*) FROM $1"; }
ask "$1"
check 'it ends well' test $? = 0 || cat "$T/err"
cat "$T/err"
check 'there are labels' test "$(count "label WHERE state = 'ok'")" -gt 0
check 'usage is known' test "$(count 'reply WHERE input_tokens > 0')" = "$(count reply)"
[ $# -gt 1 ] && check 'labels are embedded' test "$(count embedding)" = "$(count "label WHERE state = 'ok'")"
n=$(count reply)
ask http://127.0.0.1:9/v1
check 'again: nothing is asked' test $? = 0 -a "$(count reply)" = "$n"
sqlite3 -header -column "$T/db" 'SELECT layer, feature_id, state, label, round(detection, 2) AS detection,
	round(fuzzing, 2) AS fuzzing, round(embedding, 2) AS embedding FROM catalogue'
exit $rc
