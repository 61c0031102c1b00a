/* qtok: text to tokens, and back.
 * stdin or FILEs: text, lines, JSON lines.  stdout: tokens/1 records. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "corpus.h"
#include "json.h"
#include "mem.h"
#include "metrics.h"
#include "pack.h"
#include "progress.h"
#include "rec.h"
#include "stream.h"

struct opts {
	const char *tokenizer, *format, *field, *template, *system, *think;
	const char *bos, *eos, *part;
	int no_pack, literal, shuffle, ids, decode, special, raw;
	int64_t ctx, max_tokens;
	double held;
};

static const struct cli_opt options[] = {
	CLI_STR('t', "tokenizer", struct opts, tokenizer, "PATH", NULL,
	        "tokenizer.json, its folder, or a GGUF file (required)"),
	CLI_CHOICE(0, "format", struct opts, format, "auto|text|lines|json",
	           "auto", "what a document is: file, line, JSON line"),
	CLI_STR(0, "field", struct opts, field, "NAME", "text",
	        "member of a JSON line that holds a plain text"),
	CLI_CHOICE(0, "template", struct opts, template,
	           "none|r1|chatml|llama3", "none",
	           "how \"messages\" become text; marks their parts"),
	CLI_STR(0, "system", struct opts, system, "TEXT", NULL,
	        "system message of chats that have none"),
	CLI_CHOICE(0, "think", struct opts, think, "keep|drop", "keep",
	           "what assistants thought, up to </think>"),
	CLI_LONG('c', "ctx", struct opts, ctx, "N", 1, 1 << 24, "1024",
	         "tokens of a sequence"),
	CLI_FLAG(0, "no-pack", struct opts, no_pack,
	         "one document per sequence, cut at --ctx"),
	CLI_CHOICE(0, "bos", struct opts, bos, "auto|always|never", "auto",
	           "bos in front of a plain text"),
	CLI_CHOICE(0, "eos", struct opts, eos, "auto|always|never", "auto",
	           "eos behind a plain text"),
	CLI_FLAG(0, "literal", struct opts, literal,
	         "special tokens written in a plain text stay text"),
	CLI_FLAG(0, "shuffle", struct opts, shuffle,
	         "documents in an order drawn by --seed"),
	CLI_REAL(0, "held", struct opts, held, "SHARE", 0, 1, "0.05",
	         "share of documents that is held out, by their text"),
	CLI_CHOICE(0, "part", struct opts, part, "train|held|all", "all",
	           "which documents to take"),
	CLI_LONG('n', "max-tokens", struct opts, max_tokens, "N", 0, 1e15, "0",
	         "stop after N tokens; 0: never"),
	CLI_FLAG(0, "ids", struct opts, ids,
	         "write each document's ids as a JSON line"),
	CLI_FLAG('d', "decode", struct opts, decode,
	         "turn tokens/1 (--format json: ids) into text"),
	CLI_FLAG(0, "special", struct opts, special,
	         "with --decode: special tokens too"),
	CLI_FLAG(0, "raw", struct opts, raw,
	         "write plain msgpack, without zstd"),
	CLI_END
};

static const struct cli_tool tool = {
	.name = "qtok",
	.brief = "turn text into tokens, and tokens into text",
	.operands = "[FILE]...",
	.max_operands = -1,
	.options = options
};

static int choice(const char *words, const char *word)
{
	const char *p = strstr(words, word);
	int n = 0;

	while (p-- > words)
		n += *p == '|';
	return n;
}

/* ---- text to tokens -------------------------------------------------------- */

struct sink {
	const struct opts *o;
	struct pack *pack;		/* NULL: JSON lines */
	struct progress *progress;
	uint64_t n_docs, n_tokens;
};

/* One document as {"id": 0, "ids": [...], "mask": [...]}. */
static int print_ids(struct sink *k, const struct corpus_doc *d)
{
	size_t n = d->n, i;

	if (k->o->max_tokens && n > (uint64_t)k->o->max_tokens - k->n_tokens)
		n = (size_t)((uint64_t)k->o->max_tokens - k->n_tokens);
	printf("{\"id\":%llu,\"ids\":[", (unsigned long long)d->id);
	for (i = 0; i < n; i++)
		printf("%s%u", i ? "," : "", d->ids[i]);
	if (d->mask) {
		printf("],\"mask\":[");
		for (i = 0; i < n; i++)
			printf("%s%u", i ? "," : "", d->mask[i]);
	}
	puts("]}");
	k->n_tokens += n;
	return ferror(stdout) ||
		(k->o->max_tokens && k->n_tokens == (uint64_t)k->o->max_tokens);
}

static int take(void *ctx, const struct corpus_doc *d, struct err *e)
{
	struct sink *k = ctx;
	int got;

	k->n_docs += !d->offset;
	if (k->pack) {
		got = pack_add(k->pack, d->id, d->source, d->ids, d->mask, d->n,
		               d->offset, e);
		k->n_tokens = pack_n_tokens(k->pack);
	} else {
		got = print_ids(k, d);
	}
	progress_at(k->progress, k->n_tokens, NULL);
	return got;
}

static struct stream_out *open_out(const struct opts *o,
                                   const struct cli_common *c,
                                   const struct tok *t, struct err *e)
{
	struct rec_tokens_head h = {
		.n_vocab = tok_n_vocab(t), .n_ctx = (uint32_t)o->ctx,
		.packed = !o->no_pack, .bos = tok_bos(t), .eos = tok_eos(t)
	};
	/* level 1: an eighth larger than at 3, and no longer what takes the
	 * time */
	struct stream_out_opt so = { .kind = "tokens/1", .command = c->command,
		.seed = c->seed, .raw = o->raw, .level = 1 };
	struct stream_out *s = NULL;

	strcpy(h.tokenizer, tok_sha256(t));
	so.header = rec_tokens_header(&h, e);
	if (so.header) {
		so.inputs = json_pack("[s]", tok_sha256(t));
		s = stream_open_out("-", &so, e);
	}
	json_decref(so.header);
	json_decref(so.inputs);
	return s;
}

static int encode(const struct opts *o, const struct cli_common *c,
                  const struct tok *t, struct docs *d, struct sink *k,
                  struct err *e)
{
	struct corpus_opt co = {
		.field = o->field,
		.template = (enum chat_template)chat_template(o->template),
		.chat = { .system = o->system,
		          .drop_think = !strcmp(o->think, "drop") },
		.bos = (enum corpus_when)choice("auto|always|never", o->bos),
		.eos = (enum corpus_when)choice("auto|always|never", o->eos),
		.joined = !o->no_pack && !o->ids, .literal = o->literal,
		.held = o->held,
		.part = (enum corpus_part)choice("train|held|all", o->part)
	};
	struct pack_opt po = { (uint32_t)o->ctx, !o->no_pack,
		(uint64_t)o->max_tokens };
	struct par *p = par_new(c->threads, e);
	struct stream_out *s = NULL;
	int rc = -1;

	if (!p)
		return -1;
	if (!o->ids && (!(s = open_out(o, c, t, e)) ||
	                !(k->pack = pack_new(s, &po, e))))
		goto done;
	rc = corpus_run(t, p, d, &co, take, k, e);
	if (rc == 0 && k->pack)
		rc = pack_end(k->pack, e);
	if (rc == 0 && s) {
		rc = stream_finish(s, e);
		s = NULL;
	}
done:
	stream_abort(s);
	pack_free(k->pack);
	par_free(p);
	return rc;
}

/* ---- tokens to text -------------------------------------------------------- */

struct text {
	const struct tok *t;
	const struct opts *o;
	int lines;		/* a newline behind each document */
	char *buf;
	size_t n, cap;
};

/* Ids of one document, or of a piece of it. */
static int print_text(struct text *x, const uint32_t *ids, size_t n, int last,
                      struct err *e)
{
	x->n = 0;
	if (tok_decode(x->t, ids, n, x->o->special, &x->buf, &x->n, &x->cap,
	               e) < 0)
		return -1;
	if (x->n)
		fwrite(x->buf, 1, x->n, stdout);
	if (last && x->lines)
		putchar('\n');
	return ferror(stdout) ? 1 : 0;
}

static int decode_stream(struct text *x, const char *path, struct err *e)
{
	struct rec_tokens_head h;
	struct rec_tokens_in *in = rec_tokens_open(path, &h, e);
	struct rec_tokens r;
	uint64_t open = UINT64_MAX;	/* document not ended by a newline */
	int got;

	if (!in)
		return -1;
	if (h.tokenizer[0] && strcmp(h.tokenizer, tok_sha256(x->t))) {
		rec_tokens_close(in);
		return err_set(e, ERR_FORMAT, "%s was made with another "
		               "tokenizer (sha256 %s)", path, h.tokenizer);
	}
	while ((got = rec_tokens_read(in, &r, e)) > 0) {
		size_t i;

		for (i = 0; got > 0 && i < r.n_docs; i++) {
			size_t to = i + 1 < r.n_docs ? r.docs[i + 1].at : r.n;

			if (open != UINT64_MAX && open != r.docs[i].id &&
			    print_text(x, NULL, 0, 1, e) < 0)
				got = -1;
			open = r.docs[i].id;
			if (got > 0 && print_text(x, r.ids + r.docs[i].at,
			                          to - r.docs[i].at, 0, e) < 0)
				got = -1;
		}
		if (got < 0 || ferror(stdout))
			break;
	}
	if (got == 0 && open != UINT64_MAX)
		got = print_text(x, NULL, 0, 1, e);
	rec_tokens_close(in);
	return got < 0 ? -1 : 0;
}

/* A line {"ids": [...]} or [...]. */
static int decode_line(struct text *x, const struct doc *d, struct err *e)
{
	json_t *j = json_parse(d->text, d->n, "JSON", e), *v;
	const json_t *list = json_is_object(j) ? json_object_get(j, "ids") : j;
	uint32_t *ids = NULL;
	size_t i, n = 0, cap = 0;
	int rc = j ? 0 : -1;

	if (rc == 0 && !json_is_array(list))
		rc = err_set(e, ERR_FORMAT, "a list of ids wanted");
	json_array_foreach(rc == 0 ? list : NULL, i, v) {
		json_int_t id = json_integer_value(v);

		if (!json_is_integer(v) || id < 0 ||
		    id >= (json_int_t)tok_n_vocab(x->t))
			rc = err_set(e, ERR_FORMAT, "ids[%zu]: 0 to %u wanted",
			             i, tok_n_vocab(x->t) - 1);
		else if (mem_grow(&ids, &cap, n + 1, sizeof(*ids), e) < 0)
			rc = -1;
		else
			ids[n++] = (uint32_t)id;
		if (rc < 0)
			break;
	}
	if (rc == 0)
		rc = print_text(x, ids, n, 1, e);
	else
		err_wrap(e, "%s: line %llu", d->name,
		         (unsigned long long)d->line);
	mem_free(ids);
	json_decref(j);
	return rc;
}

static int decode_lines(struct text *x, const char *path, struct err *e)
{
	struct docs_opt o = { .format = DOCS_LINES };
	struct docs *d = docs_open(&path, 1, &o, e);
	const struct doc *line;
	size_t n, i;
	int got;

	if (!d)
		return -1;
	while ((got = docs_batch(d, 1024, 1 << 20, &line, &n, e)) > 0)
		for (i = 0; i < n; i++)
			if ((got = decode_line(x, &line[i], e)) != 0)
				goto done;
done:
	docs_free(d);
	return got < 0 ? -1 : 0;
}

static int decode(const struct opts *o, const struct tok *t,
                  const char *const *paths, size_t n, struct err *e)
{
	struct text x = { .t = t, .o = o, .lines = strcmp(o->format, "auto") };
	int json = !strcmp(o->format, "json"), rc = 0;
	size_t i;

	for (i = 0; rc == 0 && i < n; i++)
		rc = (json ? decode_lines : decode_stream)(&x, paths[i], e);
	mem_free(x.buf);
	return rc;
}

/* ---- */

static int report(const struct cli_common *c, const struct sink *k,
                  const struct progress *p, struct err *e)
{
	struct metrics *m = metrics_open(c->metrics, 0, e);
	int rc;

	if (!m)
		return -1;
	rc = metrics_write(m, json_pack("{s:I, s:I, s:f}", "docs",
	                                (json_int_t)k->n_docs, "tokens",
	                                (json_int_t)k->n_tokens, "tokens_s",
	                                progress_rate(p, k->n_tokens)), e);
	return metrics_close(m, e) < 0 ? -1 : rc;
}

static int run(const struct opts *o, const struct cli_common *c,
               const char *const *paths, size_t n, struct err *e)
{
	enum docs_format format = (enum docs_format)
		choice("auto|text|lines|json", o->format);
	struct docs_opt dopt = { .format = format, .shuffle = o->shuffle,
	                         .seed = c->seed };
	struct progress p = { 0 };
	struct sink k = { .o = o, .progress = &p };
	struct tok *t = tok_open(o->tokenizer, e);
	struct docs *d = NULL;
	int rc = -1;

	if (!t)
		return -1;
	if (o->decode) {
		rc = decode(o, t, paths, n, e);
	} else if ((d = docs_open(paths, n, &dopt, e))) {
		progress_start(&p, c->progress ? cli_progress : NULL, NULL,
		               "tokens", 0, (uint64_t)o->max_tokens);
		rc = encode(o, c, t, d, &k, e);
		progress_end(&p, k.n_tokens, NULL);
		if (rc == 0)
			rc = report(c, &k, &p, e);
	}
	docs_free(d);
	tok_free(t);
	return rc;
}

int main(int argc, char **argv)
{
	static const char *const std[] = { "-" };
	struct opts o;
	struct cli_common c;
	struct err e = { 0 };
	int first = cli_parse(&tool, argc, argv, &o, sizeof(o), &c);
	int n = argc - first, rc;

	if (!o.tokenizer)
		cli_usage(&tool, "--tokenizer is needed");
	if (o.ids && o.decode)
		cli_usage(&tool, "--ids and --decode exclude each other");
	if (!o.ids && !o.decode)
		cli_no_terminal(&tool);
	rc = run(&o, &c, n ? (const char *const *)argv + first : std,
	         n ? (size_t)n : 1, &e);
	free(c.command);
	if (rc < 0)
		cli_die(&tool, &e);
	if (o.ids || o.decode)
		cli_close_stdout(&tool);
	return 0;
}
