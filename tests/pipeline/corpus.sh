#!/bin/bash
# corpus.sh: the makers of corpora.
. "$(dirname "$0")/../lib/pipeline.sh"
mkdir -p "$S/pkg/usr/share/doc/thing/html"
para='<p>The reader of a stream is told where it was cut, and what was wanted in the place of what was found there.</p>'
{ echo '<html><head><title>no</title><style>x{}</style></head><body><div class="navheader">Next Up</div><h1>Chapter</h1>'
	for i in $(seq 30); do echo "$para"; [ $((i % 10)) = 0 ] && echo "<h2>Part $i&nbsp;&amp; more</h2><ul><li>one</li><li>two</li></ul><pre>  kept
    as is</pre>"; done; echo '<script>evil()</script></body></html>'; } >"$S/pkg/usr/share/doc/thing/html/a.html"
sed 's/The reader/Der Leser/' "$S/pkg/usr/share/doc/thing/html/a.html" >"$S/pkg/usr/share/doc/thing/html/a.de.html"
python3 pipelines/corpus/prose.py "$S/pkg" >"$S/prose" || not "prose runs"
check "prose: sections, entities, lists, code; no navigation, script or other language" bash -c '
	jq -e -s "length >= 3 and all(.source == \"pkg\" and (.id | startswith(\"usr/share/doc/thing/html/a.html#\")))" "$1" &&
	jq -r .text "$1" | grep -q "^Part 10 & more$" && jq -r .text "$1" | grep -q "^- two$" && jq -r .text "$1" | grep -q "^    as is$" &&
	! grep -qE "Next Up|evil|Der Leser" "$1"' - "$S/prose"
check "prose: a package without prose is an error" bash -c 'mkdir "$1/none" && ! python3 pipelines/corpus/prose.py "$1/none"' - "$S"
check "prose: a full disk is an error" bash -c '! python3 pipelines/corpus/prose.py "$1" >/dev/full' - "$S/pkg"

printf '{"text": "one"}\n{"messages": [{"role": "user", "content": "q", "x": 1}]}\n' | gzip >"$S/d.jsonl.gz"
check "dataset: JSON lines, text and chats" bash -c '
	[ "$(python3 pipelines/corpus/dataset.py "$1" | jq -c "[.text, .messages]" | tr "\n" " ")" = \
	"[\"one\",null] [null,[{\"role\":\"user\",\"content\":\"q\"}]] " ]' - "$S/d.jsonl.gz"

if gym=$(tests/lib/pypi.sh reasoning-gym==0.1.25 7f17a3eddb13c015d7d4a755ed576a061df889faf9468bcc2cca334ebe9e0435 2>"$S/log"); then
	gen() { PYTHONHASHSEED=$1 python3 pipelines/corpus/reasoning.py --package "$gym" --bytes 150000 --seed "$2"; }
	gen 0 1 >"$S/r"
	check "reasoning: the same bytes whatever the hash seed" bash -c 'cmp "$1" "$2"' - "$S/r" <(gen 7 1)
	check "reasoning: other problems for another seed" bash -c '! cmp -s "$1" "$2"' - "$S/r" <(gen 0 2)
	check "reasoning: chats, a worked answer in most" jq -e -s 'length > 200 and
		all(.messages | length == 2 and .[0].role == "user" and .[1].role == "assistant" and (.[1].content | length > 0)) and
		(map(select(.messages[1].content | startswith("<think>"))) | length) > 0.5 * length' "$S/r"
	check "reasoning: the bytes it had when this was written" bash -c \
		'[ "$(sha256sum <"$1")" = "1f0146dc15c174654856f32b89e57f7814491946c85c64b6c0d086f762d536b5  -" ]' - "$S/r"
else
	sed 's/^/# /' "$S/log"
	not "reasoning-gym can be fetched"
fi
exit $rc
