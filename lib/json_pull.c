#include "json_pull.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

enum { BUF = 1 << 16 };

/* What may come next. */
enum state {
	VALUE,		/* a value (in an array: after a comma) */
	FIRST_ITEM,	/* a value or ] */
	FIRST_KEY,	/* a key or } */
	NEXT_KEY,	/* a key, after a comma */
	COLON,		/* then a value */
	AFTER,		/* a comma or the closing bracket */
	TOP		/* a value or the end of the input */
};

struct json_pull {
	json_pull_fn *fn;
	void *ctx;
	char *name;
	unsigned char *buf;
	size_t at, end;			/* unread bytes of buf */
	uint64_t base;			/* offset of buf[0] in the input */
	int ended;
	enum state state;
	unsigned depth;
	uint64_t in_object[JSON_PULL_DEPTH / 64];	/* a bit per level */
	char *text;			/* [JSON_PULL_TEXT + 5] */
	size_t n_text;
	int cut;
};

struct json_pull *json_pull_new(json_pull_fn *fn, void *ctx, const char *name,
                                struct err *e)
{
	struct json_pull *p = mem_array(1, sizeof(*p), e);

	if (!p)
		return NULL;
	p->fn = fn;
	p->ctx = ctx;
	p->state = TOP;
	p->name = mem_strdup(name, e);
	p->buf = mem_scratch(BUF, 1, e);
	p->text = mem_scratch(JSON_PULL_TEXT + 5, 1, e);
	if (!p->name || !p->buf || !p->text) {
		json_pull_free(p);
		return NULL;
	}
	return p;
}

void json_pull_free(struct json_pull *p)
{
	if (!p)
		return;
	mem_free(p->name);
	mem_free(p->buf);
	mem_free(p->text);
	mem_free(p);
}

uint64_t json_pull_offset(const struct json_pull *p)
{
	return p->base + p->at;
}

int json_pull_bad(const struct json_pull *p, struct err *e, const char *fmt, ...)
{
	char why[320];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return err_set(e, ERR_FORMAT, "%s: byte %llu: %s", p->name,
	               (unsigned long long)json_pull_offset(p), why);
}

/* ---- bytes ---- */

/* Refills an empty buffer: 1, 0 at the end, -1. */
static int refill(struct json_pull *p, struct err *e)
{
	int64_t got;

	if (p->ended)
		return 0;
	p->base += p->end;
	p->at = p->end = 0;
	got = p->fn(p->ctx, p->buf, BUF, e);
	if (got < 0)
		return -1;
	p->end = (size_t)got;
	p->ended = got == 0;
	return got > 0;
}

/* The next byte without taking it: 0..255, -2 at the end, -1. */
static int peek(struct json_pull *p, struct err *e)
{
	if (p->at == p->end) {
		int got = refill(p, e);

		if (got <= 0)
			return got < 0 ? -1 : -2;
	}
	return p->buf[p->at];
}

/* Takes a byte; the end is an error. */
static int take(struct json_pull *p, struct err *e)
{
	int c = peek(p, e);

	if (c == -2)
		return json_pull_bad(p, e, "the input ends inside a value");
	p->at += c >= 0;
	return c;
}

/* The first byte that is no white space, not taken; -2 at the end. */
static int peek_token(struct json_pull *p, struct err *e)
{
	int c;

	while ((c = peek(p, e)) == ' ' || c == '\n' || c == '\t' || c == '\r')
		p->at++;
	return c;
}

/* ---- strings ---- */

static void put(struct json_pull *p, const char *bytes, size_t n)
{
	if (p->n_text + n > JSON_PULL_TEXT)
		p->cut = 1;
	if (p->cut)
		return;
	memcpy(p->text + p->n_text, bytes, n);
	p->n_text += n;
}

static void put_code(struct json_pull *p, uint32_t c)
{
	char b[4];
	size_t n;

	if (c < 0x80) {
		b[0] = (char)c;
		n = 1;
	} else if (c < 0x800) {
		b[0] = (char)(0xc0 | c >> 6);
		b[1] = (char)(0x80 | (c & 63));
		n = 2;
	} else if (c < 0x10000) {
		b[0] = (char)(0xe0 | c >> 12);
		b[1] = (char)(0x80 | (c >> 6 & 63));
		b[2] = (char)(0x80 | (c & 63));
		n = 3;
	} else {
		b[0] = (char)(0xf0 | c >> 18);
		b[1] = (char)(0x80 | (c >> 12 & 63));
		b[2] = (char)(0x80 | (c >> 6 & 63));
		b[3] = (char)(0x80 | (c & 63));
		n = 4;
	}
	put(p, b, n);
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(struct json_pull *p, struct err *e)
{
	int32_t v = 0;
	int i;

	for (i = 0; i < 4; i++) {
		int c = take(p, e), d;

		if (c < 0)
			return -1;
		d = c >= '0' && c <= '9' ? c - '0' :
		    c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return json_pull_bad(p, e, "wanted four hexadecimal "
			                     "digits after \\u");
		v = v << 4 | d;
	}
	return v;
}

static int is_high(int32_t u)
{
	return u >= 0xd800 && u < 0xdc00;
}

/* After \u: a character, of two escapes when they are a pair of surrogates. */
static int unicode(struct json_pull *p, struct err *e)
{
	int32_t u = hex4(p, e);

	while (is_high(u)) {
		int32_t low;
		int c = peek(p, e);

		if (c == -1)
			return -1;
		if (c != '\\')
			break;
		p->at++;
		if ((c = peek(p, e)) == -1)
			return -1;
		if (c != 'u') {
			/* another escape: give its backslash to the caller */
			put_code(p, 0xfffd);
			return '\\';
		}
		p->at++;
		low = hex4(p, e);
		if (low < 0)
			return -1;
		if (low >= 0xdc00 && low < 0xe000) {
			put_code(p, 0x10000 + ((uint32_t)(u - 0xd800) << 10) +
			         (uint32_t)(low - 0xdc00));
			return 0;
		}
		put_code(p, 0xfffd);
		u = low;
	}
	if (u < 0)
		return -1;
	put_code(p, u >= 0xd800 && u < 0xe000 ? 0xfffd : (uint32_t)u);
	return 0;
}

/* After a backslash. */
static int escape(struct json_pull *p, struct err *e)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	int c;

	do {
		c = take(p, e);
		if (c < 0)
			return -1;
		if (c == 'u') {
			/* '\\' again: a lone surrogate before this escape */
			c = unicode(p, e);
			if (c <= 0)
				return c;
			continue;
		}
		at = c ? strchr(from, c) : NULL;
		if (!at)
			return json_pull_bad(p, e, "an escape that JSON does "
			                     "not have");
		put(p, &to[at - from], 1);
		return 0;
	} while (1);
}

/* One multi-byte character whose first byte c has been taken. */
static int utf8(struct json_pull *p, int c, struct err *e)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	int n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2, i;
	uint32_t v = (uint32_t)c & (0x7fu >> n);

	if (c < 0xc2 || c > 0xf4)
		return json_pull_bad(p, e, "byte %02x: not UTF-8", c);
	for (i = 1; i < n; i++) {
		c = take(p, e);
		if (c < 0)
			return -1;
		if ((c & 0xc0) != 0x80)
			return json_pull_bad(p, e, "byte %02x: not UTF-8", c);
		v = v << 6 | ((uint32_t)c & 63);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return json_pull_bad(p, e, "U+%04x: not UTF-8", v);
	put_code(p, v);
	return 0;
}

/* After the opening quote, up to and with the closing one. */
static int string(struct json_pull *p, struct err *e)
{
	p->n_text = 0;
	p->cut = 0;
	for (;;) {
		size_t i = p->at;
		int c, rc = 0;

		while (i < p->end && p->buf[i] != '"' && p->buf[i] != '\\' &&
		       p->buf[i] >= 0x20 && p->buf[i] < 0x80)
			i++;
		if (i > p->at) {
			size_t n = i - p->at, room = JSON_PULL_TEXT - p->n_text;

			put(p, (const char *)p->buf + p->at,
			    n < room || p->cut ? n : room);
			p->cut |= n > room;
			p->at = i;
		}
		c = take(p, e);
		if (c < 0)
			return -1;
		if (c == '"')
			break;
		if (c == '\\')
			rc = escape(p, e);
		else if (c < 0x20)
			rc = json_pull_bad(p, e, "a control character in a "
			                   "string");
		else if (c < 0x80)
			put(p, (char[]) { (char)c }, 1);
		else
			rc = utf8(p, c, e);
		if (rc < 0)
			return -1;
	}
	p->text[p->n_text] = 0;
	return 0;
}

/* The same, kept nowhere. */
static int skip_string(struct json_pull *p, struct err *e)
{
	for (;;) {
		size_t i = p->at;
		int c;

		while (i < p->end && p->buf[i] != '"' && p->buf[i] != '\\')
			i++;
		p->at = i;
		c = take(p, e);
		if (c < 0)
			return -1;
		if (c == '"')
			return 0;
		if (c == '\\' && take(p, e) < 0)
			return -1;
	}
}

/* ---- numbers and words ---- */

static int is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* Whether s is a number by the grammar. */
static int number_ok(const char *s)
{
	s += *s == '-';
	if (*s == '0')
		s++;
	else if (!is_digit(*s))
		return 0;
	else
		while (is_digit(*s))
			s++;
	if (*s == '.') {
		if (!is_digit(*++s))
			return 0;
		while (is_digit(*s))
			s++;
	}
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		if (!is_digit(*s))
			return 0;
		while (is_digit(*s))
			s++;
	}
	return *s == 0;
}

/* Everything that could belong to a number or a word. */
static int scan_word(struct json_pull *p, struct err *e)
{
	int c;

	p->n_text = 0;
	p->cut = 0;
	while ((c = peek(p, e)) >= 0 &&
	       (is_digit(c) || c == '-' || c == '+' || c == '.' ||
	        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
		put(p, (char[]) { (char)c }, 1);
		p->at++;
	}
	if (c == -1)
		return -1;
	p->text[p->n_text] = 0;
	return 0;
}

static int word(struct json_pull *p, struct json_pull_token *t, struct err *e)
{
	static const struct { const char *name; enum json_pull_kind kind; }
	words[] = {
		{ "true", JSON_PULL_TRUE }, { "false", JSON_PULL_FALSE },
		{ "null", JSON_PULL_NULL }
	};
	size_t i;

	if (scan_word(p, e) < 0)
		return -1;
	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(p->text, words[i].name)) {
			t->kind = words[i].kind;
			return 0;
		}
	if (p->n_text == 0)
		return json_pull_bad(p, e, "wanted a value, found byte %02x",
		                     p->buf[p->at]);
	if (p->cut || !number_ok(p->text))
		return json_pull_bad(p, e, "'%.40s' is no JSON value", p->text);
	t->kind = JSON_PULL_NUMBER;
	t->number = strtod(p->text, NULL);
	if (!isfinite(t->number))
		return json_pull_bad(p, e, "%.40s is beyond a double", p->text);
	return 0;
}

/* ---- structure ---- */

static int inside_object(const struct json_pull *p)
{
	unsigned d = p->depth - 1;

	return p->depth && (p->in_object[d / 64] >> d % 64 & 1);
}

static int push(struct json_pull *p, int object, struct err *e)
{
	unsigned d = p->depth;

	if (d == JSON_PULL_DEPTH)
		return json_pull_bad(p, e, "nested deeper than %d",
		                     JSON_PULL_DEPTH);
	p->in_object[d / 64] &= ~(1ull << d % 64);
	p->in_object[d / 64] |= (uint64_t)object << d % 64;
	p->depth++;
	p->state = object ? FIRST_KEY : FIRST_ITEM;
	return 0;
}

static void after_value(struct json_pull *p)
{
	p->state = p->depth ? AFTER : TOP;
}

static void pop(struct json_pull *p)
{
	p->depth--;
	after_value(p);
}

/* Commas, colons and the end of the input: 1 with *c the first byte of what is
 * due, which p->state then describes; 0 at the end; -1. */
static int advance(struct json_pull *p, int *c, struct err *e)
{
	*c = peek_token(p, e);
	if (*c == -1)
		return -1;
	if (*c == -2 && p->state == TOP)
		return 0;
	if (*c == -2)
		return json_pull_bad(p, e, "the input ends inside a value");
	if (p->state == COLON) {
		if (*c != ':')
			return json_pull_bad(p, e, "wanted ':'");
		p->state = VALUE;
	} else if (p->state == AFTER && *c == ',') {
		p->state = inside_object(p) ? NEXT_KEY : VALUE;
	} else {
		return 1;
	}
	p->at++;
	*c = peek_token(p, e);
	if (*c == -2)
		return json_pull_bad(p, e, "the input ends inside a value");
	return *c < 0 ? -1 : 1;
}

/* One token, strings kept or not. */
static int next(struct json_pull *p, struct json_pull_token *t, int keep,
                struct err *e)
{
	int c, got = advance(p, &c, e);

	if (got <= 0)
		return got;
	memset(t, 0, sizeof(*t));
	p->n_text = 0;
	p->text[0] = 0;
	p->cut = 0;
	if ((c == '}' && (p->state == FIRST_KEY ||
	                  (p->state == AFTER && inside_object(p)))) ||
	    (c == ']' && (p->state == FIRST_ITEM ||
	                  (p->state == AFTER && !inside_object(p))))) {
		t->kind = c == '}' ? JSON_PULL_END_OBJECT : JSON_PULL_END_ARRAY;
		p->at++;
		pop(p);
	} else if (p->state == AFTER) {
		return json_pull_bad(p, e, "wanted ',' or '%c'",
		                     inside_object(p) ? '}' : ']');
	} else if (p->state == FIRST_KEY || p->state == NEXT_KEY) {
		if (c != '"')
			return json_pull_bad(p, e, "wanted a key");
		t->kind = JSON_PULL_KEY;
		p->at++;
		if ((keep ? string(p, e) : skip_string(p, e)) < 0)
			return -1;
		p->state = COLON;
	} else if (c == '{' || c == '[') {
		t->kind = c == '{' ? JSON_PULL_OBJECT : JSON_PULL_ARRAY;
		p->at++;
		if (push(p, c == '{', e) < 0)
			return -1;
	} else if (c == '"') {
		t->kind = JSON_PULL_STRING;
		p->at++;
		if ((keep ? string(p, e) : skip_string(p, e)) < 0)
			return -1;
		after_value(p);
	} else {
		if (word(p, t, e) < 0)
			return -1;
		after_value(p);
	}
	t->text = p->text;
	t->n = p->n_text;
	t->cut = p->cut;
	return 1;
}

int json_pull_next(struct json_pull *p, struct json_pull_token *t,
                   struct err *e)
{
	return next(p, t, 1, e);
}

int json_pull_skip(struct json_pull *p, const struct json_pull_token *t,
                   struct err *e)
{
	int opens = t->kind == JSON_PULL_OBJECT || t->kind == JSON_PULL_ARRAY;
	unsigned until = p->depth - (opens != 0);
	struct json_pull_token u;

	if (!opens && t->kind != JSON_PULL_KEY)
		return 0;
	do {
		if (next(p, &u, 0, e) < 0)
			return -1;
	} while (p->depth > until);
	return 0;
}
