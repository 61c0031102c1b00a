#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attrgraph.h"
#include "json.h"
#include "mem.h"

void attrgraph_prompt_free(struct attrgraph_prompt *p)
{
	mem_free(p->slug);
	mem_free(p->text);
	mem_free(p->ids);
	json_decref(p->line);
	memset(p, 0, sizeof(*p));
}

/* p->text to ids. */
static int tokenize(struct attrgraph_prompt *p, const struct tok *t,
                    struct err *e)
{
	struct tok_work *w = tok_work_new(t, e);
	uint32_t first = tok_bos(t) != UINT32_MAX ? tok_bos(t) : tok_eos(t);
	size_t cap = 0;
	int rc;

	if (!w)
		return -1;
	rc = tok_encode(t, w, p->text, strlen(p->text), TOK_SPECIAL, &p->ids,
	                &p->n, &cap, e);
	tok_work_free(w);
	if (rc < 0 || p->n == 0 || tok_is_special(t, p->ids[0]) ||
	    first == UINT32_MAX)
		return rc;
	if (mem_grow(&p->ids, &cap, p->n + 1, sizeof(*p->ids), e) < 0)
		return -1;
	memmove(p->ids + 1, p->ids, p->n++ * sizeof(*p->ids));
	p->ids[0] = first;
	return 0;
}

static int render(struct attrgraph_prompt *p, const struct attrgraph_chat *c,
                  const json_t *messages, struct err *e)
{
	const struct chat_opt o = { .system = c->system, .generate = 1 };
	struct chat_text out = { 0 };
	int rc = chat_render(c->template, messages, &o, &out, e);

	if (rc == 0) {
		p->text = mem_printf(e, "%.*s%s", (int)out.n,
		                     out.n ? out.text : "",
		                     c->begin ? c->begin : "");
		rc = p->text ? 0 : -1;
	}
	chat_done(&out);
	return rc;
}

int attrgraph_prompt_text(struct attrgraph_prompt *p, const struct tok *t,
                          const struct attrgraph_chat *c, const char *text,
                          struct err *e)
{
	json_t *messages = NULL;
	int rc = -1;

	if (c->template == CHAT_NONE) {
		p->text = mem_printf(e, "%s%s", text, c->begin ? c->begin : "");
		rc = p->text ? 0 : -1;
	} else if (!(messages = json_pack("[{s:s,s:s}]", "role", "user",
	                                  "content", text))) {
		err_set(e, ERR_FORMAT, "the prompt is not UTF-8");
	} else {
		rc = render(p, c, messages, e);
	}
	json_decref(messages);
	if (rc == 0)
		rc = tokenize(p, t, e);
	if (rc == 0 && !p->slug && !(p->slug = mem_strdup("", e)))
		rc = -1;
	return rc;
}

int attrgraph_prompt_line(struct attrgraph_prompt *p, const struct tok *t,
                          const struct attrgraph_chat *chat,
                          const json_t *line, struct err *e)
{
	const json_t *messages = json_object_get(line, "messages");
	struct attrgraph_chat c = *chat;
	const char *text = NULL, *slug = NULL, *template = NULL;
	int kind;

	if (!json_is_object(line))
		return err_set(e, ERR_FORMAT, "wanted an object");
	if (json_str(line, "text", NULL, &text, e) < 0 ||
	    (!text && json_str(line, "prompt", NULL, &text, e) < 0) ||
	    json_str(line, "slug", NULL, &slug, e) < 0 ||
	    (!slug && json_str(line, "id", NULL, &slug, e) < 0) ||
	    json_str(line, "begin", c.begin, &c.begin, e) < 0 ||
	    json_str(line, "template", NULL, &template, e) < 0)
		return -1;
	if (template) {
		if ((kind = chat_template(template)) < 0)
			return err_set(e, ERR_FORMAT, "'template': wanted none,"
			               " r1, chatml or llama3, found \"%.40s\"",
			               template);
		c.template = (enum chat_template)kind;
	}
	if (!text && !messages)
		return err_set(e, ERR_FORMAT, "neither 'text' nor 'messages'");
	if (text && messages)
		return err_set(e, ERR_FORMAT, "both 'text' and 'messages'");
	if (messages && c.template == CHAT_NONE)
		return err_set(e, ERR_FORMAT, "'messages' need a template");
	if (!(p->slug = mem_strdup(slug ? slug : "", e)))
		return -1;
	p->line = json_incref((json_t *)line);
	if (text)
		return attrgraph_prompt_text(p, t, &c, text, e);
	return render(p, &c, messages, e) < 0 ? -1 : tokenize(p, t, e);
}

int attrgraph_token(const struct tok *t, const char *text, uint32_t *id,
                    struct err *e)
{
	struct tok_work *w;
	uint32_t *ids = NULL;
	size_t n = 0, cap = 0;
	unsigned long v;
	char *end;
	int rc;

	if (text[0] == '#' && text[1] >= '0' && text[1] <= '9') {
		errno = 0;
		v = strtoul(text + 1, &end, 10);
		if (!*end && !errno && v < UINT32_MAX) {
			*id = (uint32_t)v;
			return 0;
		}
	}
	if (!(w = tok_work_new(t, e)))
		return -1;
	rc = tok_encode(t, w, text, strlen(text), TOK_SPECIAL, &ids, &n, &cap,
	                e);
	if (rc == 0 && n != 1)
		rc = err_set(e, ERR_USAGE, "'%s' is %zu tokens, one is wanted "
		             "(a space in front may make it one; #N is token "
		             "N)", text, n);
	if (rc == 0)
		*id = ids[0];
	mem_free(ids);
	tok_work_free(w);
	return rc;
}
