#!/bin/sh
# completion.sh SHELL TOOL...: completions for bash, zsh or fish, made from
# what each TOOL (a path) says on --help. `make install` calls it.
set -eu
shell=$1; shift

# letter<tab>long<tab>argument<tab>text, one option a line
table() {
	"$1" --help | awk '/^ +(-.,)? *--/ {
		s = $0; l = ""; a = ""
		if (match(s, /^ +-.,/)) l = substr(s, RLENGTH - 1, 1)
		sub(/^ +(-., *)?--/, "", s)
		n = s; sub(/ .*/, "", n); sub(/^[^ ]+/, "", s)
		if (s ~ /^ [^ ]/) { a = s; sub(/^ /, "", a); sub(/ .*/, "", a); sub(/^ [^ ]+/, "", s) }
		sub(/^ +/, "", s)
		printf "%s\t%s\t%s\t%s\n", l, n, a, s
	}'
}

case $shell in
bash)
	for tool; do
		t=$(basename "$tool")
		f=_r1_$(echo "$t" | tr -c 'A-Za-z0-9\n' _)
		printf '%s()\n{\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n\tcase $prev in\n' "$f"
		table "$tool" | awk -F'\t' '
			$3 ~ /^[a-z0-9]+(\|[a-z0-9]+)+$/ {
				w = $3; gsub(/\|/, " ", w)
				printf "\t--%s%s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n",
					$2, $1 != "" ? "|-" $1 : "", w }'
		printf '\tesac\n\tcase $cur in\n\t-*) COMPREPLY=($(compgen -W "%s" -- "$cur")) ;;\n' \
			"$(table "$tool" | cut -f2 | sed 's/^/--/' | tr '\n' ' ' | sed 's/ $//')"
		printf '\t*) COMPREPLY=($(compgen -f -- "$cur")) ;;\n\tesac\n}\ncomplete -o filenames -F %s %s\n' "$f" "$t"
	done ;;
zsh)
	printf '#compdef'; for tool; do printf ' %s' "$(basename "$tool")"; done; printf '\n\n'
	printf 'case $service in\n'
	for tool; do
		printf '%s)\n\t_arguments \\\n' "$(basename "$tool")"
		table "$tool" | awk -F'\t' '{
			d = $4; gsub(/\[|\]/, "", d); gsub(/:/, "\\:", d); gsub(/\047/, "", d)
			tail = ""
			if ($3 ~ /^[a-z0-9]+(\|[a-z0-9]+)+$/) { w = $3; gsub(/\|/, " ", w); tail = ":" $2 ":(" w ")" }
			else if ($3 != "") tail = ":" tolower($3) ":_files"
			if ($1 != "") printf "\t\t\047-%s[%s]%s\047 \\\n", $1, d, tail
			printf "\t\t\047--%s[%s]%s\047 \\\n", $2, d, tail }'
		printf '\t\t"*:file:_files"\n\t;;\n'
	done
	printf 'esac\n' ;;
fish)
	for tool; do
		table "$tool" | awk -F'\t' -v t="$(basename "$tool")" '{
			d = $4; gsub(/\047/, "", d)
			printf "complete -c %s -l %s", t, $2
			if ($1 != "") printf " -s %s", $1
			if ($3 ~ /^[a-z0-9]+(\|[a-z0-9]+)+$/) { w = $3; gsub(/\|/, " ", w); printf " -x -a \047%s\047", w }
			else if ($3 != "") printf " -r"
			printf " -d \047%s\047\n", d }'
	done ;;
*)
	echo "completion.sh: wants bash, zsh or fish, found '$shell'" >&2
	exit 2 ;;
esac
