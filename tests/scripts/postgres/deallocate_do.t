# What a DO executed is not seen: names may stand for other statements, and no text is shown.
ready pinned
> P 'a' 'select 1' i16:0 | S
U P 'a' 'select 1' i16:0 | S
< 1 | Z "I"
R 1 | Z "I"
> Q "do $$ begin execute 'deallocate a'; execute 'prepare a as delete from t'; end $$" x:00
U Q "do $$ begin execute 'deallocate a'; execute 'prepare a as delete from t'; end $$" x:00
< C 'DO' | Z "I"
R C 'DO' | Z "I"
cmd query ok DO - rows=0 bytes=0 t=CZ text=do $$ begin execute 'deallocate a'; execute 'prepare a as delete from t'; end $$
> B '' 'a' i16:0 i16:0 i16:0 | E '' i32:0 | S
U B '' 'a' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 2 | C 'DELETE 3' | Z "I"
R 2 | C 'DELETE 3' | Z "I"
cmd execute ok DELETE - rows=3 bytes=0 t=2C text=
# by a function: the first that fails tells
> P 'b' 'select 2' i16:0 | S
U P 'b' 'select 2' i16:0 | S
< 1 | Z "I"
R 1 | Z "I"
> B '' 'b' i16:0 i16:0 i16:0 | E '' i32:0 | S
U B '' 'b' i16:0 i16:0 i16:0 | E '' i32:0 | S
< error ERROR 26000 'prepared statement "b" does not exist' | Z "I"
R error ERROR 26000 | Z "I"
cmd execute failed SELECT 26000 rows=0 bytes=0 t=E text=select 2
> B '' 'b' i16:0 i16:0 i16:0 | E '' i32:0 | S
U B '' 'b' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 2 | C 'DELETE 3' | Z "I"
R 2 | C 'DELETE 3' | Z "I"
cmd execute ok DELETE - rows=3 bytes=0 t=2C text=
