# COPY, both ways, both protocols (bugs 13, 28).
ready pinned
> Q 'copy t from stdin'
U Q 'copy t from stdin'
< G i8:0 i16:1 i16:0
R G i8:0 i16:1 i16:0
idle no
> d "1\t2" | H | S | d "a, ""b""" | c
U d "1\t2" | H | S | d "a, ""b""" | c
< C 'COPY 2' | Z "I"
R C 'COPY 2' | Z "I"
cmd query ok COPY - rows=2 bytes=12 t=GCZ text=copy t from stdin
idle yes
> Q 'copy t to stdout'
U Q 'copy t to stdout'
< H i8:0 i16:1 i16:0 | d "1\t2" | d "\\." | c | C 'COPY 2' | Z "I"
R H i8:0 i16:1 i16:0 | d "1\t2" | d "\\." | c | C 'COPY 2' | Z "I"
cmd query ok COPY - rows=2 bytes=7 t=HddcCZ text=copy t to stdout
# extended, the Sync said before CopyInResponse was seen: it is swallowed, one ReadyForQuery
> P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
U P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 1 | 2 | G i8:0 i16:1 i16:0
R 1 | 2 | G i8:0 i16:1 i16:0
> d "x" | c | S
U d "x" | c | S
< C 'COPY 1' | Z "I"
R C 'COPY 1' | Z "I"
cmd execute ok COPY - rows=1 bytes=1 t=12GC text=copy t from stdin
idle yes
# all of it in one go, nothing seen yet
> P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S | d "xyz" | c | S | Q 'select 1'
U P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S | d "xyz" | c | S | Q 'select 1'
< 1 | 2 | G i8:0 i16:1 i16:0 | C 'COPY 1' | Z "I" | row 1 | C 'SELECT 1' | Z "I"
R 1 | 2 | G i8:0 i16:1 i16:0 | C 'COPY 1' | Z "I" | row 1 | C 'SELECT 1' | Z "I"
cmd execute ok COPY - rows=1 bytes=3 t=12GC text=copy t from stdin
cmd query ok SELECT - rows=1 bytes=7 t=DCZ text=select 1
idle yes
# CopyFail
> P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
U P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 1 | 2 | G i8:0 i16:1 i16:0
R 1 | 2 | G i8:0 i16:1 i16:0
> f 'no more' | S
U f 'no more' | S
< error ERROR 57014 'COPY from stdin failed: no more' | Z "I"
R error ERROR 57014 | Z "I"
cmd execute failed COPY 57014 rows=0 bytes=0 t=12GE text=copy t from stdin
idle yes
# an error in the middle: the rest of the data is ignored, up to Sync
> P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | H
U P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | H
< 1 | 2 | G i8:0 i16:1 i16:0
R 1 | 2 | G i8:0 i16:1 i16:0
> d "bad"
U d "bad"
< error ERROR 22P04 'extra data'
R error ERROR 22P04
cmd execute failed COPY 22P04 rows=0 bytes=3 t=12GE text=copy t from stdin
> d "more" | c | S
U d "more" | c | S
< Z "I"
R Z "I"
idle yes
# the same in the simple protocol; the next query is not confused by the left-over CopyDone
> Q 'copy t from stdin'
U Q 'copy t from stdin'
< G i8:0 i16:1 i16:0
R G i8:0 i16:1 i16:0
> d "bad"
U d "bad"
< error ERROR 22P04 'extra data' | Z "I"
R error ERROR 22P04 | Z "I"
cmd query failed COPY 22P04 rows=0 bytes=3 t=GEZ text=copy t from stdin
> d "more" | c | Q 'select 1'
U d "more" | c | Q 'select 1'
< row 1 | C 'SELECT 1' | Z "I"
R row 1 | C 'SELECT 1' | Z "I"
cmd query ok SELECT - rows=1 bytes=7 t=DCZ text=select 1
idle yes
# a statement trigger fails between CopyInResponse and the first read: both Syncs are answered
> P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
U P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 1 | 2 | G i8:0 i16:1 i16:0 | error ERROR P0001 'trigger' | Z "I"
R 1 | 2 | G i8:0 i16:1 i16:0 | error ERROR P0001 | Z "I"
cmd execute failed COPY P0001 rows=0 bytes=0 t=12GE text=copy t from stdin
> d "x" | c | S
U d "x" | c | S
< Z "I"
R Z "I"
idle yes
# the same, and the client ends the COPY that never was with a Query: it is read, for the Sync has been
> P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
U P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 1 | 2 | G i8:0 i16:1 i16:0 | error ERROR P0001 'trigger' | Z "I"
R 1 | 2 | G i8:0 i16:1 i16:0 | error ERROR P0001 | Z "I"
cmd execute failed COPY P0001 rows=0 bytes=0 t=12GE text=copy t from stdin
> Q 'delete from t'
U Q 'delete from t'
< C 'DELETE 3' | Z "I"
R C 'DELETE 3' | Z "I"
cmd query ok DELETE - rows=3 bytes=0 t=CZ text=delete from t
idle yes
# two COPYs in one Query
> Q 'copy a from stdin; copy b from stdin; select 1'
U Q 'copy a from stdin; copy b from stdin; select 1'
< G i8:0 i16:1 i16:0
R G i8:0 i16:1 i16:0
> d "1" | c
U d "1" | c
< C 'COPY 1' | G i8:0 i16:1 i16:0
R C 'COPY 1' | G i8:0 i16:1 i16:0
> d "22" | c
U d "22" | c
< C 'COPY 1' | row 1 | C 'SELECT 1' | Z "I"
R C 'COPY 1' | row 1 | C 'SELECT 1' | Z "I"
cmd query ok COPY - rows=3 bytes=10 t=GCGCDCZ text=copy a from stdin; copy b from stdin; select 1
idle yes
# CopyDone said ahead, its Sync only after CopyInResponse: that Sync is answered
> P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | d "xyz" | c
U P '' 'copy t from stdin' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | d "xyz" | c
< 1 | 2 | G i8:0 i16:1 i16:0
R 1 | 2 | G i8:0 i16:1 i16:0
> S
U S
< C 'COPY 1' | Z "I"
R C 'COPY 1' | Z "I"
cmd execute ok COPY - rows=1 bytes=3 t=12GC text=copy t from stdin
idle yes
