/* tok_norm: normalisers, one after the other, each over a whole piece. */
#include <string.h>
#include <utf8proc.h>

#include "mem.h"
#include "text.h"
#include "tok_impl.h"

/*
 * Code points whose combining class or composition came after Unicode 10,
 * which is what `tokenizers` normalises by: to it they are plain characters.
 * (Found by asking it for each: tests/oracle/tok_nfc.py.)
 */
static const struct range {
	uint32_t first, last;
} later[] = {
	{ 0x7fd, 0x7fd }, { 0x898, 0x89f }, { 0x8ca, 0x8d3 },
	{ 0x9fe, 0x9fe }, { 0xc3c, 0xc3c }, { 0xd3b, 0xd3c },
	{ 0xeba, 0xeba }, { 0x1715, 0x1715 }, { 0x1abf, 0x1ace },
	{ 0x1df6, 0x1dfa }, { 0xa82c, 0xa82c }, { 0x10d24, 0x10d27 },
	{ 0x10eab, 0x10eac }, { 0x10efd, 0x10eff }, { 0x10f46, 0x10f50 },
	{ 0x10f82, 0x10f85 }, { 0x11070, 0x11070 }, { 0x1133b, 0x1133b },
	{ 0x1145e, 0x1145e }, { 0x11839, 0x1183a }, { 0x11930, 0x11930 },
	{ 0x11938, 0x11938 }, { 0x1193d, 0x1193e }, { 0x11943, 0x11943 },
	{ 0x119e0, 0x119e0 }, { 0x11a34, 0x11a34 }, { 0x11a47, 0x11a47 },
	{ 0x11a99, 0x11a99 }, { 0x11d42, 0x11d42 }, { 0x11d44, 0x11d45 },
	{ 0x11d97, 0x11d97 }, { 0x11f41, 0x11f42 }, { 0x16ff0, 0x16ff1 },
	{ 0x1e08f, 0x1e08f }, { 0x1e130, 0x1e136 }, { 0x1e2ae, 0x1e2ae },
	{ 0x1e2ec, 0x1e2ef }, { 0x1e4ec, 0x1e4ef }
};

enum { N_LATER = sizeof(later) / sizeof(*later) };

static int is_later(uint32_t c)
{
	int i;

	for (i = 0; i < N_LATER && later[i].first <= c; i++)
		if (c <= later[i].last)
			return 1;
	return 0;
}

static void mark(uint8_t *bits, uint32_t c)
{
	if (c < TOK_STIR)
		bits[c >> 3] |= (uint8_t)(1 << (c & 7));
}

static int stirs(const uint8_t *bits, uint32_t c)
{
	return c >= TOK_STIR || bits[c >> 3] >> (c & 7) & 1;
}

/*
 * Text without a stirring character is in NFC: one that decomposes, one that
 * combines, or one that may be the second of a composed pair. Nothing is
 * composed across a character that is none of these, so NFC may be done
 * stretch by stretch.
 */
static int find_stirring(struct tok_norm *m, struct err *e)
{
	uint32_t c;
	int i, n;

	m->stirs = mem_array(TOK_STIR / 8, 1, e);
	if (!m->stirs)
		return -1;
	for (c = 0x80; c < TOK_STIR; c++) {
		const utf8proc_property_t *p =
			utf8proc_get_property((utf8proc_int32_t)c);
		utf8proc_int32_t parts[8];

		if (p->combining_class)
			mark(m->stirs, c);
		if (p->decomp_seqindex == UINT16_MAX || p->decomp_type)
			continue;	/* none, or none that NFC undoes */
		n = (int)utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8,
		                                 UTF8PROC_DECOMPOSE |
		                                 UTF8PROC_STABLE, NULL);
		if (n == 1)
			mark(m->stirs, c);
		for (i = 1; i < n && i < 8; i++)
			mark(m->stirs, (uint32_t)parts[i]);
		/* most compose again, and are in NFC; some never do */
		if (n > 1) {
			const uint8_t *out = (const uint8_t *)parts;
			size_t len = (size_t)utf8proc_reencode(parts, n,
				UTF8PROC_COMPOSE | UTF8PROC_STABLE);

			if (text_utf8(out, len) != (int)len ||
			    tok_utf8_at(out, &len) != c)
				mark(m->stirs, c);
		}
	}
	for (c = 0x1161; c <= 0x1175; c++)	/* Hangul vowels, finals */
		mark(m->stirs, c);
	for (c = 0x11a8; c <= 0x11c2; c++)
		mark(m->stirs, c);
	for (i = 0; i < N_LATER; i++)
		for (c = later[i].first; c <= later[i].last; c++)
			m->stirs[c >> 3] &= (uint8_t)~(1 << (c & 7));
	return 0;
}

int tok_norm_finish(struct tok_norm *m, struct err *e)
{
	int i;

	for (i = 0; i < m->n; i++)
		if (m->op[i].kind == TOK_NFC && !m->stirs &&
		    find_stirring(m, e) < 0)
			return -1;
	return 0;
}

void tok_norm_done(struct tok_norm *m)
{
	int i;

	for (i = 0; i < m->n; i++) {
		mem_free(m->op[i].with);
		tok_regex_free(m->op[i].what);
	}
	mem_free(m->stirs);
}

/* What is written goes to a buffer of w, with room to read beyond it. */
struct sink {
	uint8_t **buf;
	size_t *cap, n;
};

static int put(struct sink *k, const void *s, size_t n, struct err *e)
{
	if (mem_grow(k->buf, k->cap, k->n + n + TOK_PAD, 1, e) < 0)
		return -1;
	if (n)
		memcpy(*k->buf + k->n, s, n);
	k->n += n;
	return 0;
}

/* Appends s in the form that flags name. */
static int put_form(struct tok_work *w, struct sink *k, const uint8_t *s,
                    size_t n, int flags, struct err *e)
{
	utf8proc_option_t o = (utf8proc_option_t)(flags | UTF8PROC_STABLE);
	utf8proc_ssize_t got, len;

	if (n > INT32_MAX)
		return err_set(e, ERR_RANGE, "%zu bytes to normalise", n);
	got = utf8proc_decompose(s, (utf8proc_ssize_t)n, w->points,
	                         (utf8proc_ssize_t)w->cap_points, o);
	/* reencode ends what it writes with a NUL */
	if (got >= 0 && (size_t)got + 1 > w->cap_points) {
		if (mem_grow(&w->points, &w->cap_points, (size_t)got + 1,
		             sizeof(*w->points), e) < 0)
			return -1;
		got = utf8proc_decompose(s, (utf8proc_ssize_t)n, w->points,
		                         (utf8proc_ssize_t)w->cap_points, o);
	}
	if (got < 0)
		return err_set(e, ERR_FORMAT, "normaliser: %s",
		               utf8proc_errmsg(got));
	len = utf8proc_reencode(w->points, got, o);
	return put(k, w->points, (size_t)len, e);
}

/* Composes each stretch of stirring characters with the one in front. */
static int put_nfc(struct tok_work *w, struct sink *k, const uint8_t *s,
                   size_t n, struct err *e)
{
	const uint8_t *bits = w->t->norm.stirs;
	size_t at = 0, done = 0, calm = 0, len;

	while (at < n) {
		uint32_t c = tok_utf8_at(s + at, &len);

		if (!stirs(bits, c)) {
			/* the stretch may begin with it, unless utf8proc
			 * thinks more of it */
			calm = is_later(c) ? at + len : at;
			at += len;
			continue;
		}
		while (at < n && s[at] >= 0x80 &&
		       stirs(bits, tok_utf8_at(s + at, &len)))
			at += len;
		if (put(k, s + done, calm - done, e) < 0 ||
		    put_form(w, k, s + calm, at - calm, UTF8PROC_COMPOSE,
		             e) < 0)
			return -1;
		done = calm = at;
	}
	return put(k, s + done, n - done, e);
}

static int is_nfc(const uint8_t *bits, const uint8_t *s, size_t n)
{
	uint64_t eight;
	size_t at = 0, len;

	while (at < n) {
		if (n - at >= 8) {
			memcpy(&eight, s + at, 8);
			if (!(eight & 0x8080808080808080u)) {
				at += 8;
				continue;
			}
		}
		if (s[at] < 0x80) {
			at++;
			continue;
		}
		if (stirs(bits, tok_utf8_at(s + at, &len)))
			return 0;
		at += len;
	}
	return 1;
}

static int put_lower(struct sink *k, const uint8_t *s, size_t n,
                     struct err *e)
{
	uint8_t out[4];
	size_t at, len;

	for (at = 0; at < n; at += len) {
		uint32_t c = tok_utf8_at(s + at, &len);

		if (c == 0x130) {	/* the one that becomes two */
			if (put(k, "i\u0307", 3, e) < 0)
				return -1;
			continue;
		}
		c = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
		if (put(k, out, tok_utf8_put(c, out), e) < 0)
			return -1;
	}
	return 0;
}

static int put_replaced(struct tok_work *w, struct sink *k,
                        const struct tok_norm_op *op, const uint8_t *s,
                        size_t n, struct err *e)
{
	struct tok_iter it = { 0 };
	size_t done = 0;
	int got;

	while ((got = tok_regex_next(op->what, w->match, s, n, &it, e)) > 0) {
		if (put(k, s + done, it.start - done, e) < 0 ||
		    put(k, op->with, op->n_with, e) < 0)
			return -1;
		done = it.end;
	}
	return got < 0 ? -1 : put(k, s + done, n - done, e);
}

static void strip(const struct tok_ucd *u, const struct tok_norm_op *op,
                  const uint8_t **s, size_t *n)
{
	size_t len;

	while (op->left && *n && ucd_at(u, *s, 0, &len) & UCD_SPACE) {
		*s += len;
		*n -= len;
	}
	while (op->right && *n) {
		size_t p = tok_utf8_before(*s, *n);

		if (!(ucd_at(u, *s, p, &len) & UCD_SPACE))
			break;
		*n = p;
	}
}

static int apply(struct tok_work *w, const struct tok_norm_op *op,
                 struct sink *k, const uint8_t *s, size_t n, struct err *e)
{
	switch (op->kind) {
	case TOK_NFC:
		return put_nfc(w, k, s, n, e);
	case TOK_NFD:
		return put_form(w, k, s, n, UTF8PROC_DECOMPOSE, e);
	case TOK_NFKC:
		return put_form(w, k, s, n, UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
		                e);
	case TOK_NFKD:
		return put_form(w, k, s, n, UTF8PROC_DECOMPOSE |
		                UTF8PROC_COMPAT, e);
	case TOK_LOWER:
		return put_lower(k, s, n, e);
	case TOK_PREPEND:
		if (put(k, op->with, op->n_with, e) < 0)
			return -1;
		return put(k, s, n, e);
	case TOK_REPLACE:
		return put_replaced(w, k, op, s, n, e);
	case TOK_STRIP:
		break;		/* done without a copy */
	}
	return 0;
}

int tok_norm_run(struct tok_work *w, const uint8_t *s, size_t n,
                 const uint8_t **out, size_t *n_out, struct err *e)
{
	const struct tok_norm *m = &w->t->norm;
	int i, which = 0;

	for (i = 0; i < m->n && n; i++) {
		const struct tok_norm_op *op = &m->op[i];
		struct sink k = { &w->norm[which], &w->cap_norm[which], 0 };

		if (op->kind == TOK_STRIP) {
			strip(&w->t->ucd, op, &s, &n);
			continue;
		}
		if (op->kind == TOK_NFC && is_nfc(m->stirs, s, n))
			continue;
		if (apply(w, op, &k, s, n, e) < 0)
			return -1;
		s = *k.buf;
		n = k.n;
		w->limit = s + n + TOK_PAD;
		which = !which;
	}
	*out = s;
	*n_out = n;
	return 0;
}
