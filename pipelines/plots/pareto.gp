# Cost against active latents. POINTS: a block for each width with its title,
# then the front, then the chosen one; TITLE.
set title TITLE
set xlabel "active latents a token (L0)"
set ylabel "cross-entropy increase (nats/token)"
stats POINTS using 1:2 nooutput
N = STATS_blocks
set logscale x 2
set xrange [STATS_min_x / 1.15:STATS_max_x * 1.15]
set yrange [(STATS_min_y > 0 ? 0 : 1.1 * STATS_min_y):STATS_max_y * 1.1]
set key outside right top Left reverse samplen 1
set rmargin 26
unset colorbox
shape(i) = 5 + 2 * (i % 4)
plot for [i=0:N-3] POINTS index i using 1:2 with points pt shape(i) ps 1.4 * POINT lc palette frac (N > 3 ? i / (N - 3.0) : 0) title columnheader(1), \
     POINTS index N-2 using 1:2 with lines lw 1.6 dt 2 lc rgb "#777777" title "front", \
     POINTS index N-1 using 1:2 with points pt 6 ps 3.2 * POINT lw 2.4 lc rgb "#d1495b" title "chosen"
