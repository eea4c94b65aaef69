/*
 * text.h: recorded text on its way to a terminal, and tables.
 *
 * What stands in a record was chosen by agents and by targets. Printed raw it could move the cursor,
 * retitle the window, hide itself or reorder what a reader sees. So every recorded byte that reaches a
 * terminal passes text_safe(); JSON output passes json.h. Nothing else prints recorded bytes.
 *
 * Shown as visible escapes: C0 and C1 controls, DEL, invalid UTF-8 (\xNN); bidirectional controls,
 * zero-width and other invisible format characters, line and paragraph separators (\u{NNNN}). A backslash that is data
 * stays one backslash: the output is for eyes, `export` is for programs.
 */
#ifndef MAIN_TEXT_H
#define MAIN_TEXT_H

#include "base/buf.h"
#include "base/str.h"

enum text_mode {
	TEXT_LINE,  /* newline and tab are escaped too: \n, \t */
	TEXT_BLOCK, /* newline and tab stay */
};

/* Appends `s` made harmless. The buffer's limit bounds the output (sticky `bad`). */
void text_safe(struct buf *b, struct str s, enum text_mode mode);
/* Appends JSON text with the same characters written as \uNNNN, which is the same document. */
void text_json(struct buf *b, struct str json);
/* Columns that harmless UTF-8 text takes in a terminal: wide East Asian and emoji 2, combining marks 0. */
size_t text_width(struct str s);
/* The longest head of s that fits in `width` columns, at a character's boundary. */
struct str text_fit(struct str s, size_t width);

/* A table of text cells. Heads and cells are copied and made harmless; cells are cut where the table is wider
 * than the terminal, widest columns first. */
struct table;
struct table *table_new(const char *const *heads, size_t count) must_use;
struct table *table_new_str(const struct str *heads, size_t count) must_use;
void table_free(struct table **t);
void table_cell(struct table *t, struct str s);
void table_cell_fmt(struct table *t, const char *fmt, ...) printf_like(2, 3);
/* Right-align column idx (numbers). */
void table_right(struct table *t, size_t idx);
size_t table_rows(const struct table *t);
size_t table_bytes(const struct table *t); /* of text held */
void table_clear(struct table *t);         /* drops the rows, keeps the heads */
/* width 0: nothing is cut. `bold` puts heads in bold. */
void table_print(struct table *t, struct buf *out, size_t width, bool bold);

#endif
