# Parse, Bind, Describe, Execute, Sync: one command, text from the Parse.
ready pinned
> P 's1' 'select $1' i16:1 i32:25 | D i8:83 's1' | S
U P 's1' 'select $1' i16:1 i32:25 | D i8:83 's1' | S
idle no
< 1 | t i16:1 i32:25 | desc c | Z "I"
R 1 | t i16:1 i32:25 | desc c | Z "I"
idle yes
> B 'p' 's1' i16:0 i16:1 i32:2 "hi" i16:0 | D i8:80 'p' | E 'p' i32:0 | S
U B 'p' 's1' i16:0 i16:1 i32:2 "hi" i16:0 | D i8:80 'p' | E 'p' i32:0 | S
< 2 | desc c | row hi | C 'SELECT 1' | Z "I"
R 2 | desc c | row hi | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=8 t=2TDC text=select $1
# bug 24: Close of an unknown name, and of a portal, is answered and drops no statement.
> C i8:83 'nope' | C i8:80 'p' | B '' 's1' i16:0 i16:1 i32:-1 i16:0 | E '' i32:0 | S
U C i8:83 'nope' | C i8:80 'p' | B '' 's1' i16:0 i16:1 i32:-1 i16:0 | E '' i32:0 | S
< 3 | 3 | 2 | row NULL | C 'SELECT 1' | Z "I"
R 3 | 3 | 2 | row NULL | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=6 t=332DC text=select $1
# the empty statement, and a Describe that yields no data
> P '' '' i16:0 | B '' '' i16:0 i16:0 i16:0 | D i8:80 '' | E '' i32:0 | S
U P '' '' i16:0 | B '' '' i16:0 i16:0 i16:0 | D i8:80 '' | E '' i32:0 | S
< 1 | 2 | n | I | Z "I"
R 1 | 2 | n | I | Z "I"
cmd execute ok - - rows=0 bytes=0 t=12nI text=
# A portal fetched in two pages: each Execute is a command.
> P '' 'select x' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:1 | H
U P '' 'select x' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:1 | H
< 1 | 2 | row a | s
R 1 | 2 | row a | s
cmd execute ok SELECT - rows=1 bytes=7 t=12Ds text=select x
idle no
> E '' i32:0 | S
U E '' i32:0 | S
< row b | C 'SELECT 1' | Z "I"
R row b | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=7 t=DC text=select x
# A SQL cursor as a portal: no Bind, no text; the tag names it.
> E 'cur' i32:0 | S
U E 'cur' i32:0 | S
< row z | C 'FETCH 1' | Z "T"
R row z | C 'FETCH 1' | Z "T"
cmd execute ok FETCH - rows=1 bytes=7 t=DC text=
idle no
