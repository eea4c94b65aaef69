# Of results only a digest: rows, what COPY hands out, the value of a function. All else is kept.
ready pinned digest
> Q 'select x'
U Q 'select x'
< desc c | row a | row b | C 'SELECT 2' | Z "I"
R desc c | row a | row b | C 'SELECT 2' | Z "I"
cmd query ok SELECT - rows=2 bytes=14 t=TDDCZ text=select x
not recorded: 2 rows, 24 bytes
> Q 'copy t to stdout'
U Q 'copy t to stdout'
< H i8:0 i16:1 i16:0 | d "1\t2" | d "\\." | c | C 'COPY 2' | Z "I"
R H i8:0 i16:1 i16:0 | d "1\t2" | d "\\." | c | C 'COPY 2' | Z "I"
cmd query ok COPY - rows=2 bytes=7 t=HddcCZ text=copy t to stdout
not recorded: 2 rows, 17 bytes
> F i32:1 i16:0 i16:0 i16:0
U F i32:1 i16:0 i16:0 i16:0
< V i32:1 "v" | Z "I"
R V i32:1 "v" | Z "I"
cmd function ok FUNCTION - rows=0 bytes=0 t=VZ text=
not recorded: 1 rows, 10 bytes
# A row that is longer than what is shown at a time, and data of the client, which is no result.
> Q 'select big'
U Q 'select big'
< D i16:1 i32:100000 big:100000 | C 'SELECT 1' | Z "I"
R D i16:1 i32:100000 big:100000 | C 'SELECT 1' | Z "I"
cmd query ok SELECT - rows=1 bytes=100006 t=DCZ text=select big
not recorded: 1 rows, 100011 bytes
> Q 'copy t from stdin'
U Q 'copy t from stdin'
< G i8:0 i16:1 i16:0
R G i8:0 i16:1 i16:0
> d "1" | c
U d "1" | c
< C 'COPY 1' | Z "I"
R C 'COPY 1' | Z "I"
cmd query ok COPY - rows=1 bytes=1 t=GCZ text=copy t from stdin
