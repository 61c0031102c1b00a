#include "pack.h"

#include <string.h>

#include "mem.h"

struct pack {
	struct stream_out *s;
	struct pack_opt o;
	uint32_t *ids;		/* the sequence being filled: n_ctx */
	uint8_t *mask;
	size_t n;
	int masked;
	struct rec_doc *docs;
	size_t n_docs, cap_docs;
	char source[256];	/* of its documents; "" when they differ */
	uint64_t n_tokens, n_seqs;
};

struct pack *pack_new(struct stream_out *s, const struct pack_opt *o,
                      struct err *e)
{
	struct pack *p = mem_array(1, sizeof(*p), e);

	if (!p)
		return NULL;
	p->s = s;
	p->o = *o;
	p->ids = mem_scratch(o->n_ctx, sizeof(*p->ids), e);
	p->mask = p->ids ? mem_scratch(o->n_ctx, 1, e) : NULL;
	if (!p->mask) {
		pack_free(p);
		return NULL;
	}
	return p;
}

static int flush(struct pack *p, struct err *e)
{
	struct rec_tokens t = {
		.seq = p->n_seqs, .ids = p->ids, .n = p->n, .docs = p->docs,
		.n_docs = p->n_docs, .source = p->source,
		.mask = p->masked ? p->mask : NULL
	};

	if (!p->n)
		return 0;
	if (rec_tokens_write(p->s, &t, e) < 0)
		return -1;
	p->n_seqs++;
	p->n = p->n_docs = 0;
	return 0;
}

/* Names what begins at the next free place. */
static int open_doc(struct pack *p, uint64_t id, const char *source,
                    size_t offset, struct err *e)
{
	if (p->n_docs && p->docs[p->n_docs - 1].id == id)
		return 0;
	if (offset > UINT32_MAX)
		return err_set(e, ERR_RANGE, "document %llu: over 2^32 tokens",
		               (unsigned long long)id);
	if (mem_grow(&p->docs, &p->cap_docs, p->n_docs + 1, sizeof(*p->docs),
	             e) < 0)
		return -1;
	if (!p->n_docs)
		strcpy(p->source, strlen(source) < sizeof(p->source) ? source
		       : "");
	else if (strcmp(p->source, source))
		p->source[0] = 0;
	p->docs[p->n_docs++] = (struct rec_doc){ id, (uint32_t)p->n,
		(uint32_t)offset };
	return 0;
}

int pack_add(struct pack *p, uint64_t id, const char *source,
             const uint32_t *ids, const uint8_t *mask, size_t n,
             size_t offset, struct err *e)
{
	size_t done = 0;

	p->masked = mask != NULL;
	if (!p->o.packed) {
		if (offset >= p->o.n_ctx)
			return 0;
		if (p->n_docs && p->docs[0].id != id && flush(p, e) < 0)
			return -1;
	}
	while (done < n) {
		size_t k = p->o.n_ctx - p->n;

		if (k > n - done)
			k = n - done;
		if (p->o.max_tokens && k > p->o.max_tokens - p->n_tokens)
			k = (size_t)(p->o.max_tokens - p->n_tokens);
		if (!k)
			break;
		if (open_doc(p, id, source, offset + done, e) < 0)
			return -1;
		memcpy(p->ids + p->n, ids + done, k * sizeof(*ids));
		if (mask)
			memcpy(p->mask + p->n, mask + done, k);
		p->n += k;
		p->n_tokens += k;
		done += k;
		if (p->n == p->o.n_ctx && flush(p, e) < 0)
			return -1;
		if (!p->o.packed)
			break;
	}
	return p->o.max_tokens && p->n_tokens == p->o.max_tokens;
}

int pack_end(struct pack *p, struct err *e)
{
	return flush(p, e);
}

uint64_t pack_n_tokens(const struct pack *p)
{
	return p->n_tokens;
}

void pack_free(struct pack *p)
{
	if (!p)
		return;
	mem_free(p->ids);
	mem_free(p->mask);
	mem_free(p->docs);
	mem_free(p);
}
