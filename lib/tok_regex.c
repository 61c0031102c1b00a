#define PCRE2_CODE_UNIT_WIDTH 8
#include "tok_regex.h"

#include <pcre2.h>

#include "mem.h"
#include "tok_ucd.h"

struct tok_regex {
	pcre2_code *code;
};

struct tok_match {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

enum { STACK_MIN = 32 << 10, STACK_MAX = 8 << 20 };

struct tok_regex *tok_regex_new(const char *pattern, size_t n, int literal,
                                struct err *e)
{
	struct tok_regex *r = mem_array(1, sizeof(*r), e);
	pcre2_compile_context *c = pcre2_compile_context_create(NULL);
	uint32_t flags = PCRE2_UTF;
	PCRE2_SIZE at;
	int code;

	if (!r || !c) {
		err_set(e, ERR_MEM, "out of memory");
		goto done;
	}
	flags |= literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE;
	pcre2_set_newline(c, PCRE2_NEWLINE_LF);
	r->code = pcre2_compile((PCRE2_SPTR)pattern, n, flags, &code, &at, c);
	if (!r->code) {
		PCRE2_UCHAR why[160] = { 0 };

		pcre2_get_error_message(code, why, sizeof(why));
		err_set(e, ERR_FORMAT, "pattern, byte %zu: %s", at, why);
		goto done;
	}
	/* where there is no JIT for this machine, the interpreter runs */
	pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
done:
	pcre2_compile_context_free(c);
	if (r && !r->code) {
		tok_regex_free(r);
		r = NULL;
	}
	return r;
}

void tok_regex_free(struct tok_regex *r)
{
	if (r)
		pcre2_code_free(r->code);
	mem_free(r);
}

struct tok_match *tok_match_new(struct err *e)
{
	struct tok_match *m = mem_array(1, sizeof(*m), e);

	if (!m)
		return NULL;
	/* one pair: the match itself; groups don't matter */
	m->data = pcre2_match_data_create(1, NULL);
	m->context = pcre2_match_context_create(NULL);
	m->stack = pcre2_jit_stack_create(STACK_MIN, STACK_MAX, NULL);
	if (!m->data || !m->context) {
		err_set(e, ERR_MEM, "out of memory");
		tok_match_free(m);
		return NULL;
	}
	if (m->stack)
		pcre2_jit_stack_assign(m->context, NULL, m->stack);
	return m;
}

void tok_match_free(struct tok_match *m)
{
	if (!m)
		return;
	pcre2_jit_stack_free(m->stack);
	pcre2_match_context_free(m->context);
	pcre2_match_data_free(m->data);
	mem_free(m);
}

int tok_regex_next(const struct tok_regex *r, struct tok_match *m,
                   const uint8_t *s, size_t n, struct tok_iter *it,
                   struct err *e)
{
	while (it->from <= n) {
		const PCRE2_SIZE *pos;
		size_t len;
		int got = pcre2_match(r->code, s, n, it->from,
		                      PCRE2_NO_UTF_CHECK, m->data, m->context);

		if (got == PCRE2_ERROR_NOMATCH)
			return 0;
		if (got < 0) {
			PCRE2_UCHAR why[160] = { 0 };

			pcre2_get_error_message(got, why, sizeof(why));
			return err_set(e, ERR_FORMAT,
			               "pattern at byte %zu: %s", it->from, why);
		}
		pos = pcre2_get_ovector_pointer(m->data);
		if (pos[0] > pos[1] || pos[1] < it->from)
			return err_set(e, ERR_FORMAT, "pattern at byte %zu: "
			               "match ends before it begins", it->from);
		if (pos[0] == pos[1] && it->last == pos[1] + 1) {
			if (it->from >= n)
				return 0;
			tok_utf8_at(s + it->from, &len);
			it->from += len;
			continue;
		}
		it->start = pos[0];
		it->end = it->from = pos[1];
		it->last = pos[1] + 1;
		return 1;
	}
	return 0;
}
