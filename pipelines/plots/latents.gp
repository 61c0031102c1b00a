# Active and dead latents per layer. TABLE: layer, L0, share that never fired
# on the evaluation set, the same at the end of training; K; TITLE.
set multiplot
stats TABLE using 1 nooutput
set xrange [STATS_min - 0.6:STATS_max + 0.6]
set boxwidth 0.62
set style fill solid 1 noborder
set lmargin at screen 0.09
set rmargin at screen 0.98

set tmargin at screen 0.90
set bmargin at screen 0.60
set title TITLE
set ylabel "L0: active latents"
set yrange [0:K * 1.1]
set format x ""
set key off
plot TABLE using 1:2 with boxes lc rgb "#2a7f9e"

set tmargin at screen 0.53
set bmargin at screen 0.11
unset title
set xlabel "layer"
set ylabel "dead latents"
set yrange [0:1<*]
set format x "%g"
set format y "%.1f %%"
set key inside top right horizontal samplen 1.5 Left reverse
T = known(TABLE, 4)
plot TABLE using 1:(100 * $3) with linespoints lw 1.8 pt 7 ps 0.9 lc rgb "#d1495b" title "never fired on the evaluation set", \
     TABLE using 1:(T ? 100 * $4 : -1) with linespoints lw 1.2 pt 6 ps 0.9 dt 2 lc rgb "#8d4a9e" title "not fired lately while training"
unset multiplot
