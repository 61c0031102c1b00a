# Profiles of all graphs, like beside like. BASE.vars: N, GRAPHS, XTICS, YTICS;
# BASE.matrix: a graph a line, in the order of the tree, 9 where there is no value;
# TITLE.
load BASE.".vars"
set title TITLE.": ".WHAT
set xrange [-0.5:N - 0.5]
set yrange [GRAPHS - 0.5:-0.5]
set xtics rotate by -32 noenhanced
set ytics noenhanced font ",9"
eval XTICS
eval YTICS
unset grid
set palette defined (-1 "#2166ac", -0.5 "#92c5de", 0 "#f7f7f7", 0.5 "#f4a582", 1 "#b2182b")
set cbrange [-1:1]
set cblabel "significance profile"
set key off
plot BASE.".matrix" matrix using 1:2:($3 > 1 ? NaN : $3) with image pixels
