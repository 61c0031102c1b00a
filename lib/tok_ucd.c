#include "tok_ucd.h"

#include <string.h>

#include "mem.h"

enum { N_PAGES = 0x1100 };

int tok_ucd_init(struct tok_ucd *u, struct err *e)
{
	uint8_t (*all)[256] = mem_scratch(256, sizeof(*all), e);
	size_t i, n = 0, p, at = 0;
	int uniform[256];	/* page of nothing but these bits, or -1 */

	if (!all)
		return -1;
	memset(uniform, -1, sizeof(uniform));
	for (p = 0; p < N_PAGES; p++) {
		uint8_t now[256];
		int *known = NULL;

		/* most pages lie within one run */
		while (at + 1 < tok_ucd_n_runs &&
		       tok_ucd_runs[at + 1].first <= p * 256)
			at++;
		if (at + 1 == tok_ucd_n_runs ||
		    tok_ucd_runs[at + 1].first >= (p + 1) * 256)
			known = &uniform[tok_ucd_runs[at].bits];
		if (known && *known >= 0) {
			u->page[p] = (uint8_t)*known;
			continue;
		}
		for (i = 0; i < 256; i++) {
			while (at + 1 < tok_ucd_n_runs &&
			       tok_ucd_runs[at + 1].first <= p * 256 + i)
				at++;
			now[i] = tok_ucd_runs[at].bits;
		}
		for (i = 0; i < n && memcmp(all[i], now, sizeof(now)); i++)
			;
		if (i == 256) {
			mem_free(all);
			return err_set(e, ERR_RANGE,
			               "character table: over 256 pages");
		}
		if (i == n)
			memcpy(all[n++], now, sizeof(now));
		u->page[p] = (uint8_t)i;
		if (known)
			*known = (int)i;
	}
	u->bits = all;
	return 0;
}

void tok_ucd_done(struct tok_ucd *u)
{
	mem_free(u->bits);
	u->bits = NULL;
}

size_t tok_utf8_put(uint32_t code, uint8_t *out)
{
	if (code < 0x80) {
		out[0] = (uint8_t)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (uint8_t)(0xc0 | code >> 6);
		out[1] = (uint8_t)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (uint8_t)(0xe0 | code >> 12);
		out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | code >> 18);
	out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (code & 0x3f));
	return 4;
}
