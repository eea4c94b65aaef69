/* version.h: the line that --version prints. */
#ifndef MAIN_VERSION_H
#define MAIN_VERSION_H

#include "base/version.h"

#define HANSARD_VERSION_LINE "hansard " HANSARD_VERSION

#endif
