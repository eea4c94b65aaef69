# Look-ups that fail, and that are late.
ready open names
> Q 'select * from a'
U Q 'select * from a'
< C 'SELECT 0' | Z "I"
R C 'SELECT 0' | Z "I"
cmd query ok SELECT - rows=0 bytes=0 t=CZ text=select * from a
lookup PBECCS {""} {"a"} {}
> Q 'select * from b'
< 1 | 2 | error ERROR 57014 'no'
fact relation.failed 57014
< Z "I"
lookup CS
< 3 | Z "I"
U Q 'select * from b'
< C 'SELECT 0' | Z "I"
R C 'SELECT 0' | Z "I"
cmd query ok SELECT - rows=0 bytes=0 t=CZ text=select * from b
lookup PBECCS {""} {"b"} {}
# Late: the client goes on, the answers come first and are dropped.
> Q 'select * from c'
U
! timer
fact relation.failed no answer within 2 s
U Q 'select * from c'
idle no
< error ERROR 42P05 'no' | Z "I" | C 'SELECT 0' | Z "I"
R C 'SELECT 0' | Z "I"
cmd query ok SELECT - rows=0 bytes=0 t=CZ text=select * from c
lookup PBECCS {""} {"c"} {}
< 1 | 2 | D i16:0 | C 'SELECT 1' | 3 | 3 | Z "I"
lookup CS
< 3 | Z "I"
> Q 'select * from d'
U Q 'select * from d'
< C 'SELECT 0' | Z "I"
R C 'SELECT 0' | Z "I"
cmd query ok SELECT - rows=0 bytes=0 t=CZ text=select * from d
lookup PBECCS {""} {"d"} {}
# The target ends the session while it runs: the client is told.
< error FATAL 57P01 'bye'
R error FATAL 57P01
! closed target 0
close 0
