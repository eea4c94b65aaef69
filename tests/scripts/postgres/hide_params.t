# Parameters: those that the statement puts in a secret's place, and what looks like one.
ready pinned
> P 's1' "select crypt($2, $1)" x:00 i16:0 | B 'p' 's1' i16:0 i16:2 i32:4 "salt" i32:3 "pw1" i16:0 | E 'p' i32:0 | S
hide client pw1
U P 's1' "select crypt($2, $1)" x:00 i16:0 | B 'p' 's1' i16:0 i16:2 i32:4 "salt" i32:3 "pw1" i16:0 | E 'p' i32:0 | S
< 1 | 2 | row x | C 'SELECT 1' | Z "I"
R 1 | 2 | row x | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=7 t=12DC text=select crypt($2, $1)
> P '' 'select $1' i16:0 | B '' '' i16:0 i16:1 i32:16 "host=h pass=x a=" i16:0 | B '' '' i16:0 i16:2 i32:-1 i32:12 "password=abc" i16:0 | E '' i32:0 | S
hide client abc
U P '' 'select $1' i16:0 | B '' '' i16:0 i16:1 i32:16 "host=h pass=x a=" i16:0 | B '' '' i16:0 i16:2 i32:-1 i32:12 "password=abc" i16:0 | E '' i32:0 | S
< 1 | 2 | 2 | row x | C 'SELECT 1' | Z "I"
R 1 | 2 | 2 | row x | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=7 t=122DC text=select $1
# After DEALLOCATE the statement behind a name is not known: its parameters still count.
> Q 'deallocate all'
U Q 'deallocate all'
< C 'DEALLOCATE ALL' | Z "I"
R C 'DEALLOCATE ALL' | Z "I"
cmd query ok DEALLOCATE - rows=0 bytes=0 t=CZ text=deallocate all
> B 'p' 's1' i16:0 i16:2 i32:4 "salt" i32:3 "pw2" i16:0 | E 'p' i32:0 | S
hide client pw2
U B 'p' 's1' i16:0 i16:2 i32:4 "salt" i32:3 "pw2" i16:0 | E 'p' i32:0 | S
< error ERROR 26000 'no' | Z "I"
R error ERROR 26000 | Z "I"
cmd execute skipped - - rows=0 bytes=0 t=- text=
