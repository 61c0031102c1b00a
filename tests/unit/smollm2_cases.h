/* smollm2_cases: where SmolLM2-135M-Instruct is, for tests on a real model.
 * Include after cmocka.h. */
#ifndef R1_SMOLLM2_CASES_H
#define R1_SMOLLM2_CASES_H

#include <stdio.h>
#include <string.h>

enum { SMOLLM2_PATH = 4096 };

/* 0 with the GGUF file's path; -1, said on stderr, when there is none. */
static int smollm2_path(char path[SMOLLM2_PATH])
{
	FILE *p = popen("tests/lib/smollm2.sh", "r");

	path[0] = 0;
	if (!p || !fgets(path, SMOLLM2_PATH, p)) {
		print_error("tests/lib/smollm2.sh gave no model\n");
		return -1;
	}
	pclose(p);
	path[strcspn(path, "\n")] = 0;
	return 0;
}

#endif
