/*
 * embed: files of data/ as part of the program.
 *
 * EMBED(sym, "data/NAME") in a file of lib/ defines bytes sym[] up to, not
 * including, sym_end[], and a 0 behind them. The path is read when that file is
 * compiled; the Makefile names it as what the object depends on.
 */
#ifndef R1_EMBED_H
#define R1_EMBED_H

#define EMBED(sym, path) \
	__asm__(".section .rodata\n" \
	        ".balign 16\n" \
	        #sym ":\n" \
	        ".incbin \"" path "\"\n" \
	        #sym "_end:\n" \
	        ".byte 0\n" \
	        ".previous\n"); \
	extern const char sym[] __attribute__((visibility("hidden"))); \
	extern const char sym##_end[] __attribute__((visibility("hidden")))

#endif
