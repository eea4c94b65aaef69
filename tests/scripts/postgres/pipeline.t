# bug 14: a pipeline is not over after its first ReadyForQuery.
ready pinned
> P '' 'select 1' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S | P '' 'select 2' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
U P '' 'select 1' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S | P '' 'select 2' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 1 | 2 | row 1 | C 'SELECT 1' | Z "I"
R 1 | 2 | row 1 | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=7 t=12DC text=select 1
idle no
< 1 | 2 | row 2 | C 'SELECT 1' | Z "I"
R 1 | 2 | row 2 | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=7 t=12DC text=select 2
idle yes
# The unnamed portal is bound twice before the first answer: each Execute has its own text.
> P 'a' 'insert a' i16:0 | P 'b' 'insert b' i16:0 | B '' 'a' i16:0 i16:0 i16:0 | E '' i32:0 | B '' 'b' i16:0 i16:0 i16:0 | E '' i32:0 | S
U P 'a' 'insert a' i16:0 | P 'b' 'insert b' i16:0 | B '' 'a' i16:0 i16:0 i16:0 | E '' i32:0 | B '' 'b' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 1 | 1 | 2 | C 'INSERT 0 1' | 2 | C 'INSERT 0 2' | Z "I"
R 1 | 1 | 2 | C 'INSERT 0 1' | 2 | C 'INSERT 0 2' | Z "I"
cmd execute ok INSERT - rows=1 bytes=0 t=112C text=insert a
cmd execute ok INSERT - rows=2 bytes=0 t=2C text=insert b
# bug 15: Flush without Sync, the Sync much later.
> P '' 'select 3' i16:0 | D i8:83 '' | H
U P '' 'select 3' i16:0 | D i8:83 '' | H
< 1 | t i16:0 | desc c
R 1 | t i16:0 | desc c
idle no
> B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | H
U B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | H
< 2 | row 3 | C 'SELECT 1'
R 2 | row 3 | C 'SELECT 1'
cmd execute ok SELECT - rows=1 bytes=7 t=1tT2DC text=select 3
idle no
> S
U S
< Z "I"
R Z "I"
idle yes
