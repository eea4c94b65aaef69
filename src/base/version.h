/* version.h: the version, once. It stands in --version, in open frames and in boot leaves. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define HANSARD_VERSION "0.1.0"

#endif
