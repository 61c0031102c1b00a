#include "motif_impl.h"

#include <string.h>


static const char *const names[MOTIF_QUAD] = {
	"003", "012", "021U", "102", "021C", "111U", "021D", "030T",
	"120U", "111D", "201", "030C", "120C", "120D", "210", "300",
	"residual_self_loop_positive", "residual_self_loop_negative",
	"feedforward_amplification", "feedforward_damping",
	"coherent_ffl", "incoherent_ffl",
	"cross_chain_inhibition", "cross_chain_toggle",
	"ffl_c1", "ffl_c2", "ffl_c3", "ffl_c4",
	"ffl_i1", "ffl_i2", "ffl_i3", "ffl_i4",
};

static const char *const group_names[MOTIF_GROUPS] = {
	"triads", "signed", "ffl", "quads"
};

static const char *const null_names[MOTIF_NULLS] = {
	"configuration", "er", "layer-er", "layer-config", "lpc-sign",
	"lpc-shuf"
};

const char *motif_name(int motif)
{
	return motif < MOTIF_QUAD ? names[motif]
	                          : motif_quad_name(motif - MOTIF_QUAD);
}

int motif_group_find(const char *name)
{
	int i;

	for (i = 0; i < MOTIF_GROUPS; i++)
		if (!strcmp(name, group_names[i]))
			return i;
	return -1;
}

const char *motif_group_name(enum motif_group g)
{
	return group_names[g];
}

enum motif_group motif_group_of(int motif)
{
	return motif < MOTIF_SELF_POS ? MOTIF_TRIADS :
	       motif < MOTIF_FFL_C1 ? MOTIF_SIGNED :
	       motif < MOTIF_QUAD ? MOTIF_FFL : MOTIF_QUADS;
}

const char *motif_null_name(enum motif_null null)
{
	return null_names[null];
}

int motif_null_find(const char *name)
{
	int i;

	for (i = 0; i < MOTIF_NULLS; i++)
		if (!strcmp(name, null_names[i]))
			return i;
	return -1;
}

int motif_null_counts(enum motif_null null, enum motif_group g)
{
	int has_signs = g == MOTIF_SIGNED || g == MOTIF_FFL;

	switch (null) {
	case MOTIF_LAYER_CONFIG:
		return !has_signs;
	case MOTIF_LPC_SIGN:
	case MOTIF_LPC_SHUF:
		return has_signs;
	default:
		return 1;
	}
}

int motif_disconnected(int motif)
{
	return motif == 0 || motif == 1 || motif == 3;
}
