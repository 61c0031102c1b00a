#include "chat.h"

#include <string.h>

#include "json.h"
#include "mem.h"

/* Sources: chat_template in tokenizer_config.json of DeepSeek-R1-Distill-Qwen,
 * SmolLM2-135M-Instruct and Meta-Llama-3-8B-Instruct. */
static const char *const names[] = { "none", "r1", "chatml", "llama3" };
static const char *const tokens[][5] = {
	{ NULL },
	{ "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
	  "<｜end▁of▁sentence｜>", NULL },
	{ "<|im_start|>", "<|im_end|>", NULL },
	{ "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
	  "<|eot_id|>", NULL }
};

int chat_template(const char *name)
{
	int i;

	for (i = 0; i < 4; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}

const char *const *chat_tokens(enum chat_template t)
{
	return tokens[t];
}

static int put_n(struct chat_text *c, const char *s, size_t n, struct err *e)
{
	if (mem_grow(&c->text, &c->cap, c->n + n + 1, 1, e) < 0)
		return -1;
	memcpy(c->text + c->n, s, n);
	c->n += n;
	return 0;
}

static int put(struct chat_text *c, const char *s, struct err *e)
{
	return put_n(c, s, strlen(s), e);
}

static int open_piece(struct chat_text *c, int assistant, struct err *e)
{
	if (mem_grow(&c->piece, &c->cap_pieces, c->n_pieces + 1,
	             sizeof(*c->piece), e) < 0)
		return -1;
	c->piece[c->n_pieces++] = (struct chat_piece){ c->n, c->n, 0,
		assistant };
	return 0;
}

static struct chat_piece *last_piece(struct chat_text *c)
{
	return &c->piece[c->n_pieces - 1];
}

static void end_head(struct chat_text *c)
{
	last_piece(c)->n_head = c->n - last_piece(c)->from;
}

struct turn {
	const char *role, *content;
	size_t n;
};

static int turn_of(const json_t *messages, size_t i, struct turn *t,
                   struct err *e)
{
	const json_t *m = json_array_get(messages, i);
	const json_t *role = json_object_get(m, "role");
	const json_t *content = json_object_get(m, "content");

	if (!json_is_string(role) || !json_is_string(content))
		return err_set(e, ERR_FORMAT, "message %zu: role and content "
		               "wanted, both strings", i);
	t->role = json_string_value(role);
	t->content = json_string_value(content);
	t->n = json_string_length(content);
	return 0;
}

static int is_assistant(const struct turn *t)
{
	return !strcmp(t->role, "assistant");
}

/* What is left when only the words behind the last </think> count. */
static void drop_think(struct turn *t)
{
	static const char mark[] = "</think>";
	const char *s = t->content, *p;
	size_t n = t->n;

	while ((p = memmem(s, n, mark, sizeof(mark) - 1))) {
		p += sizeof(mark) - 1;
		n -= (size_t)(p - s);
		s = p;
	}
	t->content = s;
	t->n = n;
}

static int is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trim(struct turn *t)
{
	while (t->n && is_space(t->content[0])) {
		t->content++;
		t->n--;
	}
	while (t->n && is_space(t->content[t->n - 1]))
		t->n--;
}

static int r1_turn(struct chat_text *c, const struct turn *t, size_t i,
                   struct err *e)
{
	int assistant = is_assistant(t);

	if (!strcmp(t->role, "system"))
		return 0;	/* stands at the front already */
	if (!assistant && strcmp(t->role, "user"))
		return err_set(e, ERR_FORMAT, "message %zu: role '%s' is not "
		               "known to r1", i, t->role);
	if (open_piece(c, assistant, e) < 0 ||
	    put(c, tokens[CHAT_R1][assistant ? 2 : 1], e) < 0)
		return -1;
	end_head(c);
	if (put_n(c, t->content, t->n, e) < 0)
		return -1;
	return assistant ? put(c, tokens[CHAT_R1][3], e) : 0;
}

/* bos and the system prompt (the last one there is). */
static int r1_front(struct chat_text *c, const json_t *messages,
                    const struct chat_opt *o, struct err *e)
{
	struct turn t, system = { NULL, o->system, 0 };
	size_t i;

	if (system.content)
		system.n = strlen(system.content);
	for (i = 0; i < json_array_size(messages); i++) {
		if (turn_of(messages, i, &t, e) < 0)
			return -1;
		if (!strcmp(t.role, "system"))
			system = t;
	}
	if (open_piece(c, 0, e) < 0 || put(c, tokens[CHAT_R1][0], e) < 0)
		return -1;
	return system.content ? put_n(c, system.content, system.n, e) : 0;
}

/* What a turn opens with in the other two; a chat's very first turn has bos in
 * front in llama3. */
static int open_turn(enum chat_template kind, struct chat_text *c,
                     const char *role, struct err *e)
{
	const char *const *k = tokens[kind];
	int first = !c->n_pieces;

	if (open_piece(c, !strcmp(role, "assistant"), e) < 0)
		return -1;
	if (kind == CHAT_CHATML) {
		if (put(c, k[0], e) < 0 || put(c, role, e) < 0 ||
		    put(c, "\n", e) < 0)
			return -1;
	} else if ((first && put(c, k[0], e) < 0) || put(c, k[1], e) < 0 ||
	           put(c, role, e) < 0 || put(c, k[2], e) < 0 ||
	           put(c, "\n\n", e) < 0) {
		return -1;
	}
	end_head(c);
	return 0;
}

static int headed_turn(enum chat_template kind, struct chat_text *c,
                       struct turn *t, struct err *e)
{
	if (kind == CHAT_LLAMA3)
		trim(t);
	if (open_turn(kind, c, t->role, e) < 0 ||
	    put_n(c, t->content, t->n, e) < 0)
		return -1;
	return put(c, kind == CHAT_CHATML ? "<|im_end|>\n" : tokens[kind][3],
	           e);
}

int chat_render(enum chat_template kind, const json_t *messages,
                const struct chat_opt *o, struct chat_text *c, struct err *e)
{
	struct turn t = { "system", o->system, 0 };
	size_t i, n = json_array_size(messages);

	c->n = c->n_pieces = 0;
	if (!json_is_array(messages) || !n)
		return err_set(e, ERR_FORMAT, "messages: a list wanted that "
		               "is not empty");
	if (kind == CHAT_NONE)
		return err_set(e, ERR_FORMAT, "messages need a template");
	if (kind == CHAT_R1) {
		if (r1_front(c, messages, o, e) < 0)
			return -1;
	} else if (o->system) {
		struct turn first;

		t.n = strlen(o->system);
		if (turn_of(messages, 0, &first, e) < 0 ||
		    (strcmp(first.role, "system") &&
		     headed_turn(kind, c, &t, e) < 0))
			return -1;
	}
	for (i = 0; i < n; i++) {
		if (turn_of(messages, i, &t, e) < 0)
			return -1;
		if (o->drop_think && is_assistant(&t))
			drop_think(&t);
		if ((kind == CHAT_R1 ? r1_turn(c, &t, i, e)
		                     : headed_turn(kind, c, &t, e)) < 0)
			return -1;
	}
	if (o->generate && kind == CHAT_R1) {
		if (open_piece(c, 1, e) < 0 || put(c, tokens[kind][2], e) < 0 ||
		    put(c, "<think>\n", e) < 0)
			return -1;
		end_head(c);
	} else if (o->generate && open_turn(kind, c, "assistant", e) < 0) {
		return -1;
	}
	for (i = 0; i < c->n_pieces; i++)
		c->piece[i].to = i + 1 < c->n_pieces ? c->piece[i + 1].from
		                                     : c->n;
	return 0;
}

void chat_done(struct chat_text *c)
{
	mem_free(c->text);
	mem_free(c->piece);
	memset(c, 0, sizeof(*c));
}
