# Relations are asked for when the session is idle, once; the client waits and notices nothing.
ready pinned names
> Q 'select * from orders, Gone'
U Q 'select * from orders, Gone'
< T i16:1 'c' i32:16400 i16:1 i32:23 i16:4 i32:-1 i16:0 | row a | C 'SELECT 1' | Z "I"
R T i16:1 'c' i32:16400 i16:1 i32:23 i16:4 i32:-1 i16:0 | row a | C 'SELECT 1' | Z "I"
cmd query ok SELECT - rows=1 bytes=7 t=TDCZ text=select * from orders, Gone
lookup PBECCS {"",""} {"orders","gone"} {16400}
idle yes
# What comes meanwhile waits; a cancel has nothing to hit; what is not an answer passes.
> P '' 'select * from orders' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
U
! cancel
fact cancel nothing was in flight: not forwarded
cmd cancel skipped CANCEL - rows=0 bytes=0 t=- text=
< 1 | A i32:5 'ch' 'payload' | 2 | D i16:9 i32:1 "0" i32:5 "16400" i32:5 "16400" i32:6 "public" i32:6 "orders" i32:1 "r" i32:1 "1" i32:2 "id" i32:7 "integer" | D i16:9 i32:1 "0" i32:5 "16400" i32:5 "16400" i32:6 "public" i32:6 "orders" i32:1 "r" i32:1 "2" i32:4 "what" i32:4 "text" | D i16:9 i32:1 "1" i32:5 "16400" i32:5 "16400" i32:6 "public" i32:6 "orders" i32:1 "r" i32:1 "1" i32:2 "id" i32:7 "integer" | D i16:9 i32:1 "1" i32:5 "16400" i32:5 "16400" i32:6 "public" i32:6 "orders" i32:1 "r" i32:1 "2" i32:4 "what" i32:4 "text" | S 'a' 'b' | D i16:9 i32:1 "2" i32:-1 i32:-1 i32:-1 i32:-1 i32:-1 i32:-1 i32:-1 i32:-1
R A i32:5 'ch' 'payload' | S 'a' 'b'
fact relation {"oid":16400,"schema":"public","name":"orders","kind":"table","columns":[[1,"id","integer"],[2,"what","text"]]}
< N 'SNOTICE' "C00000" x:00 "Mown" x:00 x:00 | N 'SWARNING' "C01000" x:00 "Mother" x:00 x:00 | C 'SELECT 5' | 3 | 3 | Z "I"
fact relation {"name":"gone","found":false}
R N 'SWARNING' "C01000" x:00 "Mother" x:00 x:00
U P '' 'select * from orders' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 1 | 2 | row a | C 'SELECT 1' | Z "I"
R 1 | 2 | row a | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=7 t=12DC text=select * from orders
# In a transaction it waits for the end; a rename is told, and so is what has no columns.
> Q 'begin; select 1 from s.v'
U Q 'begin; select 1 from s.v'
< C 'BEGIN' | desc c | C 'SELECT 0' | Z "T"
R C 'BEGIN' | desc c | C 'SELECT 0' | Z "T"
cmd query ok BEGIN - rows=0 bytes=0 t=CTCZ text=begin; select 1 from s.v
> Q 'alter table orders rename to o2' | Q 'commit'
U Q 'alter table orders rename to o2' | Q 'commit'
< C 'ALTER TABLE' | Z "T" | C 'COMMIT' | Z "I"
R C 'ALTER TABLE' | Z "T" | C 'COMMIT' | Z "I"
cmd query ok ALTER - rows=0 bytes=0 t=CZ text=alter table orders rename to o2
cmd query ok COMMIT - rows=0 bytes=0 t=CZ text=commit
lookup PBECCS {"s"} {"v"} {}
< 1 | 2 | D i16:9 i32:1 "1" i32:5 "16500" i32:5 "16500" i32:1 "s" i32:1 "v" i32:1 "v" i32:-1 i32:-1 i32:-1 | C 'SELECT 1' | 3 | 3 | Z "I"
fact relation {"oid":16500,"schema":"s","name":"v","kind":"view","columns":[]}
> Q 'select 1 from s.v'
U Q 'select 1 from s.v'
< T i16:1 'c' i32:16400 i16:1 i32:23 i16:4 i32:-1 i16:0 | C 'SELECT 0' | Z "I"
R T i16:1 'c' i32:16400 i16:1 i32:23 i16:4 i32:-1 i16:0 | C 'SELECT 0' | Z "I"
cmd query ok SELECT - rows=0 bytes=0 t=TCZ text=select 1 from s.v
lookup PBECCS {"s"} {"v"} {16400}
# The client goes while it runs: nothing is left to do when it is done.
! closed client 0
U
phase ready
< 1 | 2 | D i16:9 i32:1 "0" i32:5 "16400" i32:5 "16400" i32:6 "public" i32:2 "o2" i32:1 "r" i32:1 "1" i32:2 "id" i32:7 "integer" | D i16:9 i32:1 "1" i32:5 "16500" i32:5 "16500" i32:1 "s" i32:1 "v" i32:1 "v" i32:-1 i32:-1 i32:-1 | C 'SELECT 2' | 3 | 3 | Z "I"
fact relation {"oid":16400,"schema":"public","name":"o2","kind":"table","columns":[[1,"id","integer"]]}
closeside target
phase leaving
