# What it costs to replace one layer's MLP. TABLE: layer, CE increase of the
# transcoder, its standard error, of the mean, of zero; ALL: of all at once; TITLE.
set title TITLE
set xlabel "layer whose MLP is replaced"
set ylabel "cross-entropy increase (nats/token)"
stats TABLE using 1 nooutput
set xrange [STATS_min - 0.6:STATS_max + 0.6]
set logscale y
set yrange [1e-4:20]
set format y "%g"
set key inside top left horizontal samplen 1 width 1 Left reverse
set style fill solid 1 noborder
M = known(TABLE, 4)
Z = known(TABLE, 5)
low(x) = x < 1e-4 ? 1e-4 : x
set arrow from graph 0, first 0.1 to graph 1, first 0.1 nohead lw 1 dt 3 lc rgb "#777777"
set label "0.1" at graph 1.005, first 0.1 textcolor rgb "#777777"
if (ALL > 0) {
	set arrow from graph 0, first ALL to graph 1, first ALL nohead lw 1.4 dt 2 lc rgb "#d1495b"
	set label sprintf("all layers at once: %.2f", ALL) at graph 0.01, first ALL * 1.25 textcolor rgb "#d1495b"
}
plot TABLE using ($1):(1e-4):($1 - 0.31):($1 + 0.31):(1e-4):(low($2)) with boxxyerror lc rgb "#2a7f9e" title "its transcoder", \
     TABLE using 1:(low($2 - $3)):(0):(low($2 + $3) - low($2 - $3)) with vectors nohead lw 1.6 lc rgb "#0e2f3c" notitle, \
     TABLE using 1:(M ? $4 : 1e-9) with points pt 7 ps 1.1 lc rgb "#edae49" title "the mean of its output", \
     TABLE using 1:(Z ? $5 : 1e-9) with points pt 6 ps 1.1 lw 1.6 lc rgb "#66a182" title "zero"
