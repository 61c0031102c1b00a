/* index.html: data/browse/page.html with the style and the program in it. The
 * Makefile makes this object anew when one of the three changes. */
#include <string.h>

#include "browse_impl.h"
#include "mem.h"

#define FILE_OF(sym, path) \
	__asm__(".section .rodata\n" \
	        #sym ":\n" \
	        ".incbin \"" path "\"\n" \
	        ".byte 0\n" \
	        ".previous\n"); \
	extern const char sym[] __attribute__((visibility("hidden")))

FILE_OF(browse_page_html, "data/browse/page.html");
FILE_OF(browse_page_css, "data/browse/page.css");
FILE_OF(browse_page_js, "data/browse/page.js");

static int put_escaped(struct text *t, const char *s, struct err *e)
{
	int rc = text_add(t, "", 0, e);

	for (; rc == 0 && *s; s++)
		rc = *s == '&' ? text_str(t, "&amp;", e)
		     : *s == '<' ? text_str(t, "&lt;", e)
		     : *s == '>' ? text_str(t, "&gt;", e)
		     : text_add(t, (unsigned char)*s < ' ' ? "?" : s, 1, e);
	return rc;
}

char *browse_page(const char *title, size_t *n, struct err *e)
{
	const struct { const char *mark, *text; } part[] = {
		{ "{title}", title }, { "{style}", browse_page_css },
		{ "{title}", title }, { "{program}", browse_page_js }
	};
	const char *at = browse_page_html, *mark;
	struct text t = { 0 };
	size_t i;

	for (i = 0; i < sizeof(part) / sizeof(*part); i++) {
		if (!(mark = strstr(at, part[i].mark))) {
			err_set(e, ERR_FORMAT, "the page has no %s",
			        part[i].mark);
			goto fail;
		}
		if (text_add(&t, at, (size_t)(mark - at), e) < 0 ||
		    (part[i].text == title ? put_escaped(&t, title, e)
		                           : text_str(&t, part[i].text, e)) < 0)
			goto fail;
		at = mark + strlen(part[i].mark);
	}
	if (text_str(&t, at, e) < 0)
		goto fail;
	*n = t.n;
	return t.s;
fail:
	mem_free(t.s);
	return NULL;
}
