#include "pkg.h"

#include <dirent.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"
#include "sha256.h"

extern char **environ;

enum { ARGS_MAX = 12 };

/* What is specific to a registry. */
static const struct {
	const char *name, *between, *archive;
	const char *fetch[ARGS_MAX];	/* before the package */
	const char *unpack[ARGS_MAX];	/* before the archive */
	const char *into;		/* before the folder, if anything */
} kinds[] = {
	[PKG_PYPI] = {
		"pypi", "==", ".whl",
		{ "python3", "-m", "pip", "download", "-q", "--no-deps",
		  "--only-binary=:all:", "-d", ".", NULL },
		{ "unzip", "-q", NULL }, "-d",
	},
	[PKG_DEB] = {
		"deb", "=", ".deb",
		/* root need not hand the folder to apt's own user */
		{ "apt-get", "-qq", "-o", "APT::Sandbox::User=root",
		  "download", NULL },
		{ "dpkg-deb", "-x", NULL }, NULL,
	},
};

/* Runs argv in folder dir, its stdout on our stderr. */
static int run(const char *const *argv, const char *dir, struct err *e)
{
	posix_spawn_file_actions_t fa;
	int rc, status;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", 0, 0);
	posix_spawn_file_actions_adddup2(&fa, 2, 1);
	posix_spawn_file_actions_addchdir_np(&fa, dir);
	rc = posix_spawnp(&pid, argv[0], &fa, NULL, (char *const *)argv,
	                  environ);
	posix_spawn_file_actions_destroy(&fa);
	if (rc != 0) {
		errno = rc;
		return err_sys(e, "%s", argv[0]);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, "%s", argv[0]);
	if (WIFSIGNALED(status))
		return err_set(e, ERR_IO, "%s: killed by signal %d", argv[0],
		               WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		return err_set(e, ERR_IO, "%s: exit %d", argv[0],
		               WEXITSTATUS(status));
	return 0;
}

/* name and version of spec; what is in neither alphabet, or looks like an
 * option, never reaches a command line. */
static int check_spec(enum pkg_kind kind, const char *spec, struct err *e)
{
	const char *between = kinds[kind].between;
	const char *eq = strstr(spec, between);
	size_t n = eq ? (size_t)(eq - spec) : strlen(spec);
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789.+-_~!:";
	const char *ver = eq ? eq + strlen(between) : NULL;

	if (n == 0 || strspn(spec, plain) < n || strchr("-.", spec[0]) ||
	    (kind == PKG_PYPI && !ver) || (ver && !*ver) ||
	    (ver && strspn(ver, plain) != strlen(ver)) ||
	    strlen(spec) > 200)
		return err_set(e, ERR_USAGE, "%s:%s: wanted name%sversion",
		               kinds[kind].name, spec, between);
	return 0;
}

/* Relative, and never up. */
static int check_member(const char *member, struct err *e)
{
	const char *p = member;

	while (p && *p != '/') {
		if (strncmp(p, "..", 2) == 0 && (!p[2] || p[2] == '/'))
			break;
		p = strchr(p, '/');
		if (!p)
			return *member ? 0 : err_set(e, ERR_USAGE,
			                             "no member named");
		p++;
	}
	return err_set(e, ERR_USAGE, "member %s: wanted a path inside the "
	               "package", member);
}

/* The one archive the client left in dir: its name, for mem_free. */
static char *find_archive(enum pkg_kind kind, const char *dir, struct err *e)
{
	const char *suffix = kinds[kind].archive;
	char *found = NULL;
	struct dirent *d;
	DIR *folder = opendir(dir);
	int n = 0;

	if (!folder) {
		err_sys(e, "%s", dir);
		return NULL;
	}
	while ((d = readdir(folder))) {
		size_t len = strlen(d->d_name), end = strlen(suffix);

		if (len > end && strcmp(d->d_name + len - end, suffix) == 0 &&
		    n++ == 0)
			found = mem_strdup(d->d_name, e);
	}
	closedir(folder);
	if (n != 1) {
		err_set(e, ERR_IO, "%s: the client left %d files *%s, wanted "
		        "one", dir, n, suffix);
		mem_free(found);
		found = NULL;
	}
	return found;
}

/* Fetches, checks and unpacks into tmp/x; the archive's digest in hex. */
static int fetch(enum pkg_kind kind, const char *spec, const char *sha256,
                 const char *tmp, char hex[SHA256_HEX], struct err *e)
{
	const char *argv[ARGS_MAX + 4];
	char *name, *path = NULL;
	int i, rc = -1;

	for (i = 0; kinds[kind].fetch[i]; i++)
		argv[i] = kinds[kind].fetch[i];
	argv[i++] = spec;
	argv[i] = NULL;
	if (run(argv, tmp, e) < 0 || !(name = find_archive(kind, tmp, e)))
		return -1;
	path = mem_printf(e, "%s/%s", tmp, name);
	if (!path || sha256_file(path, hex, e) < 0)
		goto done;
	if (sha256 && strcmp(sha256, hex) != 0) {
		err_set(e, ERR_FORMAT, "%s:%s: sha256 is %s, wanted %s",
		        kinds[kind].name, spec, hex, sha256);
		goto done;
	}
	for (i = 0; kinds[kind].unpack[i]; i++)
		argv[i] = kinds[kind].unpack[i];
	argv[i++] = name;
	if (kinds[kind].into)
		argv[i++] = kinds[kind].into;
	argv[i++] = "x";
	argv[i] = NULL;
	rc = run(argv, tmp, e);
done:
	mem_free(name);
	mem_free(path);
	return rc;
}

/* The digest written beside dir when it was unpacked. */
static int kept_digest(const char *path, char hex[SHA256_HEX])
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(hex, 1, SHA256_HEX - 1, f) : 0;

	hex[n] = 0;
	if (f)
		fclose(f);
	return n == SHA256_HEX - 1;
}

/* Fetches into tmp, then gives the unpacked folder its name. */
static int fill(enum pkg_kind kind, const char *spec, const char *sha256,
                const char *dir, const char *sum, struct err *e)
{
	char *tmp = mem_printf(e, "%s.tmp", dir);
	char *inner = mem_printf(e, "%s.tmp/x", dir);
	char hex[SHA256_HEX];
	int rc = -1;

	if (!tmp || !inner || file_remove_tree(tmp, e) < 0 ||
	    file_remove_tree(dir, e) < 0)
		goto done;
	if (file_mkdirs(tmp, e) == 0 &&
	    fetch(kind, spec, sha256, tmp, hex, e) == 0 &&
	    file_write(sum, hex, SHA256_HEX - 1, e) == 0)
		rc = rename(inner, dir) == 0 ? 0 :
		     err_sys(e, "%s: cannot rename to %s", inner, dir);
	file_remove_tree(tmp, NULL);
done:
	mem_free(tmp);
	mem_free(inner);
	return rc;
}

/* Makes dir hold the package, under its lock. */
static int ensure(enum pkg_kind kind, const char *spec, const char *sha256,
                  const char *dir, const struct log *log, struct err *e)
{
	char *lock = mem_printf(e, "%s.lock", dir);
	char *sum = mem_printf(e, "%s.sha256", dir);
	char hex[SHA256_HEX];
	struct stat st;
	int fd = -1, rc = -1;

	if (!lock || !sum || file_mkparents(dir, e) < 0 ||
	    (fd = file_lock(lock, e)) < 0)
		goto done;
	if (stat(dir, &st) < 0 || !kept_digest(sum, hex)) {
		log_say(log, "fetching %s:%s", kinds[kind].name, spec);
		rc = fill(kind, spec, sha256, dir, sum, e);
	} else if (sha256 && strcmp(sha256, hex) != 0) {
		err_set(e, ERR_FORMAT, "%s: came from an archive with sha256 "
		        "%s, wanted %s", dir, hex, sha256);
	} else {
		rc = 0;
	}
done:
	if (fd >= 0)
		close(fd);
	mem_free(lock);
	mem_free(sum);
	return rc;
}

char *pkg_get(enum pkg_kind kind, const char *spec, const char *member,
              const char *sha256, const char *cache, const struct log *log,
              struct err *e)
{
	const char *eq = strstr(spec, kinds[kind].between);
	char *dir, *path = NULL;
	struct stat st;

	while (kind == PKG_DEB && member && *member == '/')
		member++;
	if (check_spec(kind, spec, e) < 0 ||
	    (member && check_member(member, e) < 0))
		return NULL;
	dir = mem_printf(e, "%s/%s-%.*s%s%s", cache, kinds[kind].name,
	                 eq ? (int)(eq - spec) : (int)strlen(spec), spec,
	                 eq ? "-" : "",
	                 eq ? eq + strlen(kinds[kind].between) : "");
	if (dir && ensure(kind, spec, sha256, dir, log, e) == 0)
		path = mem_printf(e, "%s%s%s", dir, member ? "/" : "",
		                  member ? member : "");
	if (path && stat(path, &st) < 0) {
		err_set(e, ERR_FORMAT, "%s:%s has no member %s",
		        kinds[kind].name, spec, member ? member : "");
		mem_free(path);
		path = NULL;
	}
	mem_free(dir);
	return path;
}
