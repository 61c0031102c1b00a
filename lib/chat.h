/*
 * chat: conversations as the text a model was trained on, character for
 * character what the model's own chat template gives.
 *
 *   r1      DeepSeek-R1 and its distills
 *   chatml  Qwen, SmolLM2: <|im_start|>role\n...<|im_end|>\n
 *   llama3  Llama 3: headers, contents trimmed
 */
#ifndef R1_CHAT_H
#define R1_CHAT_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"

enum chat_template { CHAT_NONE, CHAT_R1, CHAT_CHATML, CHAT_LLAMA3 };

/* "none", "r1", "chatml", "llama3"; -1 for another word. */
int chat_template(const char *name);

/* The tokens a template is made of, closed by NULL: a tokenizer that cuts any
 * of them apart is none for it. */
const char *const *chat_tokens(enum chat_template t);

struct chat_opt {
	const char *system;	/* for a chat that has no system message, or
				 * NULL. (Some models' templates have such a
				 * default: SmolLM2, Qwen2.5.) */
	int drop_think;		/* leave out what assistants thought, as the
				 * template of r1 does with past turns */
	int generate;		/* end with what an assistant's turn opens with
				 * (add_generation_prompt) */
};

/* A turn. It begins with a token of the template, so turns may be encoded one
 * by one. */
struct chat_piece {
	size_t from, to;	/* bytes of chat_text.text */
	size_t n_head;		/* first bytes: markup, not what was said */
	int assistant;
};

struct chat_text {	/* {0} at first; reused between calls */
	char *text;
	size_t n, cap;
	struct chat_piece *piece;
	size_t n_pieces, cap_pieces;
};

/* messages: [{"role": ..., "content": ...}, ...], roles system, user and
 * assistant (other names too, but for r1). Replaces what out held. 0, or -1
 * ERR_FORMAT naming the message. */
int chat_render(enum chat_template t, const json_t *messages,
                const struct chat_opt *o, struct chat_text *out,
                struct err *e);
void chat_done(struct chat_text *out);

#endif
