# Mean profile of each set with its interval. BASE.vars: SETS, N, XTICS; BASE.tsv:
# a motif a line, then mean, low and high per set ("?": none); TITLE.
load BASE.".vars"
set datafile missing "?"
set title TITLE.": ".WHAT
set ylabel "significance profile"
set xrange [-0.6:N - 0.4]
set yrange [-1.05:1.05]
set xtics rotate by -32 noenhanced
eval XTICS
set key outside right top vertical Left reverse samplen 1
set arrow from graph 0, first 0 to graph 1, first 0 nohead lw 1 lc rgb "#777777"
colour(i) = word("#2a7f9e #d1495b #66a182 #edae49 #8d4a9e #5f6b73 #b5651d #1b3a4b", (i - 1) % 8 + 1)
off(i) = (i - (words(SETS) + 1) / 2.0) * 0.72 / (words(SETS) + 1)
plot for [i=1:words(SETS)] BASE.".tsv" using ($0 + off(i)):(column(3 * i - 2)):(column(3 * i - 1)):(column(3 * i)) \
	with yerrorbars lw 1.8 pt 7 ps POINT lc rgb colour(i) title word(SETS, i)
