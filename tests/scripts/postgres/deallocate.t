# After DEALLOCATE a name may stand for another statement: no text is shown rather than a wrong one.
ready pinned
> P 'a' 'select 1' i16:0 | S
U P 'a' 'select 1' i16:0 | S
< 1 | Z "I"
R 1 | Z "I"
> Q 'deallocate a; prepare a as delete from t'
U Q 'deallocate a; prepare a as delete from t'
< C 'DEALLOCATE' | C 'PREPARE' | Z "I"
R C 'DEALLOCATE' | C 'PREPARE' | Z "I"
cmd query ok DEALLOCATE - rows=0 bytes=0 t=CCZ text=deallocate a; prepare a as delete from t
> B '' 'a' i16:0 i16:0 i16:0 | E '' i32:0 | S
U B '' 'a' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 2 | C 'DELETE 3' | Z "I"
R 2 | C 'DELETE 3' | Z "I"
cmd execute ok DELETE - rows=3 bytes=0 t=2C text=
# said before the target told of the DEALLOCATE: what was bound by then is not known either
> P 'b' 'select 2' i16:0 | S
U P 'b' 'select 2' i16:0 | S
< 1 | Z "I"
R 1 | Z "I"
> Q 'deallocate b; prepare b as delete from t' | B 'p' 'b' i16:0 i16:0 i16:0 | E 'p' i32:0 | S
U Q 'deallocate b; prepare b as delete from t' | B 'p' 'b' i16:0 i16:0 i16:0 | E 'p' i32:0 | S
< C 'DEALLOCATE' | C 'PREPARE' | Z "I" | 2 | C 'DELETE 3' | Z "I"
R C 'DEALLOCATE' | C 'PREPARE' | Z "I" | 2 | C 'DELETE 3' | Z "I"
cmd query ok DEALLOCATE - rows=0 bytes=0 t=CCZ text=deallocate b; prepare b as delete from t
cmd execute ok DELETE - rows=3 bytes=0 t=2C text=
idle yes
