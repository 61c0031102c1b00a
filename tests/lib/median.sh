# shellcheck shell=bash
# median.sh, sourced by benchmarks: of numbers on standard input, one a line.
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
