# Shared by the plots; sets the terminal and the looks. Called with OUT set, and
# SVG for one of these. POINT: what makes points, twice as large there, as large.
if (exists("SVG")) {
	set terminal svg size 1200,675 font "DejaVu Sans,13" background "#ffffff" enhanced
	POINT = 0.5
} else {
	set terminal pngcairo size 1200,675 font "DejaVu Sans,13" background "#ffffff" enhanced
	POINT = 1
}
set output OUT
set encoding utf8
set border 3 lw 1.2 lc rgb "#444444"
set tics nomirror out scale 0.6 textcolor rgb "#333333"
set grid ytics lw 0.8 lc rgb "#e4e4e4"
set pointintervalbox 0
set key noenhanced textcolor rgb "#333333"
set title font ",16" textcolor rgb "#111111" noenhanced
set xlabel textcolor rgb "#333333"
set ylabel textcolor rgb "#333333"
set datafile separator "\t"
# depth of a layer, dark to light
set palette defined (0 "#440154", 0.25 "#3b528b", 0.5 "#21918c", 0.75 "#5ec962", 1 "#f0c020")
# How many numbers column c of a table holds ("?": not measured). A column
# without any is drawn outside of the picture.
known(table, c) = int(system(sprintf("cut -f %d '%s' | grep -vc '?'", c, table)))
