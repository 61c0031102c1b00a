/* The files of data/viewer/, which are part of the program. The Makefile makes
 * this object anew when one of them changes. */
#include <string.h>

#include "embed.h"
#include "view_impl.h"

EMBED(view_text_page, "data/viewer/page.html");
EMBED(view_text_style, "data/viewer/style.css");
EMBED(view_text_model, "data/viewer/model.js");
EMBED(view_text_state, "data/viewer/state.js");
EMBED(view_text_draw, "data/viewer/draw.js");
EMBED(view_text_panel, "data/viewer/panel.js");
EMBED(view_text_group, "data/viewer/group.js");
EMBED(view_text_main, "data/viewer/main.js");

const char *view_asset(const char *name, size_t *n)
{
	static const struct {
		const char *name, *text, *end;
	} files[] = {
		{ "page.html", view_text_page, view_text_page_end },
		{ "style.css", view_text_style, view_text_style_end },
		{ "model.js", view_text_model, view_text_model_end },
		{ "state.js", view_text_state, view_text_state_end },
		{ "draw.js", view_text_draw, view_text_draw_end },
		{ "panel.js", view_text_panel, view_text_panel_end },
		{ "group.js", view_text_group, view_text_group_end },
		{ "main.js", view_text_main, view_text_main_end },
	};
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (!strcmp(files[i].name, name)) {
			*n = (size_t)(files[i].end - files[i].text);
			return files[i].text;
		}
	return NULL;
}
