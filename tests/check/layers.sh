#!/bin/bash
# layers.sh: who may include whom. The map in CONTRIBUTING.md is the rule:
# table 1 gives each module's row and what it may not include besides higher
# rows ("siblings": the other modules of its row); table 2 says which outside
# header belongs to which modules alone. TAP on stdout.
set -u
cd "$(dirname "$0")/../.." || exit 1
map=CONTRIBUTING.md

sources() { git ls-files 'lib/*.[ch]' 'bin/*.c' 2>/dev/null || ls lib/*.[ch] bin/*.c; }

# FILE:LINE<tab>HEADER<tab>q (quoted) or a (angled)
includes() {
	sources | xargs awk '
	match($0, /^[ \t]*#[ \t]*include[ \t]*["<][^">]*[">]/) {
		s = substr($0, RSTART, RLENGTH); kind = index(s, "\"") ? "q" : "a"
		sub(/^[^"<]*["<]/, "", s); sub(/[">]$/, "", s)
		print FILENAME ":" FNR "\t" s "\t" kind
	}'
}

includes | awk -F'\t' -v map="$map" '
function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }
function words(s, a) { gsub(/[`,]/, " ", s); s = trim(s); return split(s, a, / +/) }
# a module: its own entry, or that of the longest prefix written with a *
function entry(m,   e, best) {
	if (m in row) return m
	for (e in row)
		if (e ~ /\*$/ && index(m, substr(e, 1, length(e) - 1)) == 1 &&
		    length(e) > length(best))
			best = e
	return best
}
function bad(msg) { print "# " msg; n_bad++ }
BEGIN {
	while ((getline line < map) > 0) {
		n = split(line, col, "|")
		for (i = 1; i <= n; i++) col[i] = trim(col[i])
		if (col[2] ~ /^[0-9]+$/ && n >= 6) {
			k = words(col[3], w)
			for (i = 1; i <= k; i++) { row[w[i]] = col[2]; no[w[i]] = col[5] }
		} else if (col[2] ~ /^`[^`]+\.h`$/) {
			h = col[2]; gsub(/`/, "", h); owner[h] = col[3]
		}
	}
	for (e in row) n_rows++
	if (!n_rows) { print "not ok layers: no table in " map; failed = 1; exit 1 }
}
{
	split($1, at, ":"); file = at[1]; dir = file; sub(/\/.*/, "", dir)
	me = file; sub(/.*\//, "", me); sub(/\.[ch]$/, "", me)
	h = $2
	if ($3 == "a" || !(("lib/" h) in have)) {
		base = h; if (base in owner && dir == "lib") {
			k = words(owner[base], w); ok = 0
			for (i = 1; i <= k; i++) {
				p = w[i]
				if (p == me || (p ~ /\*$/ && index(me, substr(p, 1, length(p) - 1)) == 1)) ok = 1
			}
			if (!ok) bad($1 ": <" h "> belongs to " owner[base] " alone")
		} else if (base in owner && dir == "bin")
			bad($1 ": <" h "> belongs to " owner[base] " in lib/")
	}
	if ($3 != "q") next
	they = h; sub(/\.h$/, "", they)
	if (they ~ /\//) { bad($1 ": include by name, not by path: " h); next }
	if (dir == "bin") next
	if (they == me) next
	if (they == "cli") { if (me != "cli") bad($1 ": cli.h is for bin/ only"); next }
	if (me == "cli") next
	a = entry(me); b = entry(they)
	if (a == "") { if (!(me in told)) bad(file ": module " me " is not on the map in " map); told[me] = 1; next }
	if (b == "") { if (!(they in told)) bad($1 ": module " they " is not on the map in " map); told[they] = 1; next }
	if (row[b] > row[a])
		bad($1 ": " me " (row " row[a] ") may not include " they " (row " row[b] ")")
	k = words(no[a], w)
	for (i = 1; i <= k; i++)
		if (w[i] == b || w[i] == they ||
		    (w[i] == "siblings" && row[a] == row[b] && a != b))
			bad($1 ": " me " may not include " they)
}
END {
	if (failed) exit 1
	print (n_bad ? "not ok" : "ok") " layers: " NR " includes against the map"
	exit n_bad > 0
}'
rc=$?

# lib never prints or exits; cli, which is for bin/, does.
talk=$(ls lib/*.c | grep -v '^lib/cli\.c$' | xargs grep -nE \
	'(^|[^_[:alnum:]])(printf|puts|putchar|perror|exit|_exit|abort) *\(|(std(out|err)) *[,)]' |
	grep -vE '^[^:]*:[0-9]*:[[:space:]]*(/?\*|//)' )
if [ -n "$talk" ]; then
	echo "$talk" | sed 's/^/# /'
	echo "not ok layers: lib prints or exits"
	rc=1
else
	echo "ok layers: lib neither prints nor exits"
fi
exit $rc
