# Errors at every place, in both protocols (bugs 7, 15, 16, 25, 27).
ready pinned
# simple: one of several statements fails, one ReadyForQuery
> Q 'insert 1; select 1/0; insert 2'
U Q 'insert 1; select 1/0; insert 2'
< C 'INSERT 0 1' | error ERROR 22012 'division by zero' | Z "I"
R C 'INSERT 0 1' | error ERROR 22012 division | Z "I"
cmd query failed INSERT 22012 rows=1 bytes=0 t=CEZ text=insert 1; select 1/0; insert 2
idle yes
# an error without any field (CVE-2026-6666) has no SQLSTATE of its own
> Q 'x'
U Q 'x'
< E i8:0 | Z "I"
R E i8:0 | Z "I"
cmd query failed X XX000 rows=0 bytes=0 t=EZ text=x
# Parse fails: its Execute failed with it, the other one was skipped
> P '' 'selct' i16:0 | B '' '' i16:0 i16:0 i16:0 | D i8:80 '' | E '' i32:0 | B '' 's9' i16:0 i16:0 i16:0 | E '' i32:0 | S
U P '' 'selct' i16:0 | B '' '' i16:0 i16:0 i16:0 | D i8:80 '' | E '' i32:0 | B '' 's9' i16:0 i16:0 i16:0 | E '' i32:0 | S
< error ERROR 42601 'syntax error' | Z "I"
R error ERROR 42601 'syntax error' | Z "I"
cmd execute failed SELCT 42601 rows=0 bytes=0 t=E text=selct
cmd execute skipped - - rows=0 bytes=0 t=- text=
idle yes
# bug 25: Bind of a statement that was never parsed: the session lives on
> B '' 'gone' i16:0 i16:0 i16:0 | E '' i32:0 | S
U B '' 'gone' i16:0 i16:0 i16:0 | E '' i32:0 | S
< error ERROR 26000 'no such statement' | Z "I"
R error ERROR 26000 'no such statement' | Z "I"
cmd execute skipped - - rows=0 bytes=0 t=- text=
# bug 27: a failed Parse is not remembered
> P 'a' 'select bad' i16:0 | S
U P 'a' 'select bad' i16:0 | S
< error ERROR 42703 'no column' | Z "I"
R error ERROR 42703 | Z "I"
> B '' 'a' i16:0 i16:0 i16:0 | E '' i32:0 | S
U B '' 'a' i16:0 i16:0 i16:0 | E '' i32:0 | S
< error ERROR 26000 'no such statement' | Z "I"
R error ERROR 26000 | Z "I"
cmd execute skipped - - rows=0 bytes=0 t=- text=
# a Parse of a name that exists fails: which text it now stands for is not known, so none is shown
> P 'k' 'select 1' i16:0 | S
U P 'k' 'select 1' i16:0 | S
< 1 | Z "I"
R 1 | Z "I"
> P 'k' 'select 2' i16:0 | S
U P 'k' 'select 2' i16:0 | S
< error ERROR 42P05 'exists' | Z "I"
R error ERROR 42P05 | Z "I"
> B '' 'k' i16:0 i16:0 i16:0 | E '' i32:0 | S
U B '' 'k' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 2 | row 1 | C 'SELECT 1' | Z "I"
R 2 | row 1 | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=7 t=2DC text=
# bug 16: Execute fails, the client says Query without a Sync: nothing is answered until Sync
> P '' 'select 1/0' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | H
U P '' 'select 1/0' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | H
< 1 | 2 | error ERROR 22012 'division by zero'
R 1 | 2 | error ERROR 22012
cmd execute failed SELECT 22012 rows=0 bytes=0 t=12E text=select 1/0
> Q 'select 2' | F i32:1 i16:0 i16:0 i16:0 | E '' i32:0
U Q 'select 2' | F i32:1 i16:0 i16:0 i16:0 | E '' i32:0
cmd query skipped SELECT - rows=0 bytes=0 t=- text=select 2
cmd function skipped FUNCTION - rows=0 bytes=0 t=- text=
cmd execute skipped - - rows=0 bytes=0 t=- text=
idle no
> S
U S
< Z "I"
R Z "I"
idle yes
# a deferred constraint fails at Sync
> P '' 'insert' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
U P '' 'insert' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 1 | 2 | C 'INSERT 0 1' | error ERROR 23503 'foreign key' | Z "I"
R 1 | 2 | C 'INSERT 0 1' | error ERROR 23503 | Z "I"
cmd execute ok INSERT - rows=1 bytes=0 t=12C text=insert
idle yes
# a failed transaction is not idle
> Q 'select nope'
U Q 'select nope'
< error ERROR 42703 'no column' | Z "E"
R error ERROR 42703 | Z "E"
cmd query failed SELECT 42703 rows=0 bytes=0 t=EZ text=select nope
idle no
