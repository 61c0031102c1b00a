#!/bin/bash
# install.sh: what `make install` puts where, and that uninstall takes it away.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL
BIN=${BIN:-$PWD/bin}
case $BIN in */asan/bin) kind=asan=1 ;; */tsan/bin) kind=tsan=1 ;; *) kind= ;; esac
rc=0
S=$(mktemp -d) || exit 1
trap 'rm -rf "$S"' EXIT
ok() { echo "ok install: $1"; }
not() { echo "not ok install: $1"; rc=1; }

# shellcheck disable=SC2086
if ! make -s install $kind DESTDIR="$S" PREFIX=/usr >"$S/log" 2>&1; then
	tail -n 5 "$S/log" | sed 's/^/# /'; not "make install"; exit 1
fi
rm "$S/log"
for src in bin/*.c; do
	t=$(basename "$src" .c)
	for f in bin/$t share/man/man1/$t.1 share/bash-completion/completions/$t share/fish/vendor_completions.d/$t.fish; do
		[ -s "$S/usr/$f" ] || not "$f is there"
	done
	"$S/usr/bin/$t" --version >/dev/null || not "$t runs where it was put"
	# every option of --help is completed, by each shell
	for o in $("$BIN/$t" --help | grep -oE '^ +(-.,)? *--[a-z0-9-]+' | grep -oE '[a-z0-9-]{2,}$' | sed 's/^--//'); do
		grep -q -- "--$o[ \"]" "$S/usr/share/bash-completion/completions/$t" || not "bash completes $t --$o"
		grep -q -- " -l $o " "$S/usr/share/fish/vendor_completions.d/$t.fish" || not "fish completes $t --$o"
		grep -q -- "'--$o\[" "$S/usr/share/zsh/site-functions/_r1-interp" || not "zsh completes --$o"
	done
	bash -c '. "$1" && COMP_WORDS=("$2" --threa) COMP_CWORD=1 && "$3" && [ "${COMPREPLY[*]}" = --threads ]' - \
		"$S/usr/share/bash-completion/completions/$t" "$t" "_r1_${t//-/_}" || not "bash completes $t --threa"
done
[ $rc = 0 ] && ok "tools, pages and completions"
# shellcheck disable=SC2086
make -s uninstall $kind DESTDIR="$S" PREFIX=/usr >/dev/null
left=$(find "$S" -type f)
if [ -z "$left" ]; then ok "uninstall leaves nothing"; else echo "$left" | sed 's/^/# /'; not "uninstall leaves nothing"; fi
exit $rc
