/* version.h: one place for the version; meson.build passes the number. */
#ifndef MAIN_VERSION_H
#define MAIN_VERSION_H

#ifndef HANSARD_VERSION
#define HANSARD_VERSION "0.1.0"
#endif
#define HANSARD_VERSION_LINE "hansard " HANSARD_VERSION

#endif
