/* vectors.h: the test vectors of docs/record-format.md §11, made from fixed inputs. */
#ifndef RECORD_VECTORS_H
#define RECORD_VECTORS_H

#include "base/buf.h"

/* Appends the whole of tests/verifier/vectors.json. */
void vectors_write(struct buf *b);

#endif
