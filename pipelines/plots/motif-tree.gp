# Which graphs are alike. BASE.vars: GRAPHS, YTICS, FAR; BASE.tree: x y x y of each
# line; TITLE.
load BASE.".vars"
set title TITLE.": ".WHAT
set xlabel "distance: 1 - cosine of the profiles"
set yrange [GRAPHS - 0.4:-0.6]
set xrange [0:FAR * 1.05]
set ytics noenhanced font ",9"
eval YTICS
set grid noytics xtics
set key off
plot BASE.".tree" using 1:2:($3 - $1):($4 - $2) with vectors nohead lw 1.6 lc rgb "#0e2f3c"
