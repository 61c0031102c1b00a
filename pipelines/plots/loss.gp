# Fraction of variance unexplained while training, a line per layer.
# CURVES: tokens, then FVU per layer; LAYERS: their numbers; TITLE.
N = words(LAYERS)
depth(i) = word(LAYERS, i) + 0
set title TITLE
set xlabel "tokens trained on"
set ylabel "fraction of variance unexplained (running mean)"
set autoscale xfix
set format x "%.0s%c"
set logscale y
set yrange [*:*]
set ytics (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
set cbrange [0:(depth(N) > 0 ? depth(N) : 1)]
set cblabel "layer"
set colorbox user origin 0.92,0.16 size 0.015,0.7
set rmargin at screen 0.89
set key off
plot for [i=1:N] CURVES using 1:(column(i + 1)):(depth(i)) with lines lw 1.6 lc palette
