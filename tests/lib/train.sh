# train.sh: what the suites of tctrain and tctune share; for `source`. The caller
# has set $tool and defined check NAME CONDITION.

# refuses NAME EXIT TEXT ARGUMENT...: stdin is $in; one line on stderr
refuses() {
	local name=$1 code=$2 text=$3 got; shift 3
	$tool "$@" <"$in" >out 2>err; got=$?
	check "$name" "[ $got = $code ] && [ \$(wc -l <err) = 1 ] && grep -qF -- \"$text\" err" ||
		sed 's/^/# /' err
}
weights() { (cd "$1" && find layers.* -type f | sort | xargs sha256sum); }
same() { cmp <(weights "$1") <(weights "$2"); }
curve() { jq -c 'del(.time)' "$1"; }

# language N: as many sequences of 20 to 60 tokens from a small random language,
# a JSON list a line
language() {
	python3 - "$1" <<'PY'
import json, random, sys
r = random.Random(1)
after = [[r.randrange(512) for _ in range(4)] for _ in range(512)]
for _ in range(int(sys.argv[1])):
    t = [r.randrange(512)]
    for _ in range(r.randrange(19, 60)):
        t.append(r.choice(after[t[-1]]))
    print(json.dumps(t))
PY
}
