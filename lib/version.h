/* version: of the whole family; recorded in every stream's provenance. */
#ifndef R1_VERSION_H
#define R1_VERSION_H

#define R1_VERSION "0.1.0"

#endif
