/*
 * pkg: files out of packages, fetched by the registries' ordinary clients
 * (pip, apt-get), so that mirrors, proxies and keys are as the user set them.
 *
 *   CACHE/pypi-NAME-VERSION/, CACHE/deb-NAME[-VERSION]/   unpacked, once
 *
 * Needs python3-pip and unzip, or apt and dpkg.
 */
#ifndef R1_PKG_H
#define R1_PKG_H

#include "err.h"
#include "log.h"

enum pkg_kind { PKG_PYPI, PKG_DEB };

/*
 * spec: "name==version" of a wheel, "name[=version]" of a Debian package.
 * member: a file or folder inside (NULL: the whole), relative for a wheel, as
 * installed for a Debian package. sha256, or NULL: what the archive must be;
 * an unpacked folder remembers the digest it came with. Returns the path, for
 * mem_free; NULL with ERR_USAGE, ERR_IO or ERR_FORMAT. The clients' messages
 * go to stderr.
 */
char *pkg_get(enum pkg_kind kind, const char *spec, const char *member,
              const char *sha256, const char *cache, const struct log *log,
              struct err *e);

#endif
