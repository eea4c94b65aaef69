# bug 23: FunctionCall, answered and failed.
ready pinned
> F i32:1234 i16:1 i16:1 i16:1 i32:4 i32:7 i16:1
U F i32:1234 i16:1 i16:1 i16:1 i32:4 i32:7 i16:1
< V i32:4 i32:9 | Z "I"
R V i32:4 i32:9 | Z "I"
cmd function ok FUNCTION - rows=0 bytes=0 t=VZ text=
> F i32:1 i16:0 i16:0 i16:0
U F i32:1 i16:0 i16:0 i16:0
< error ERROR 42883 'no function' | Z "I"
R error ERROR 42883 | Z "I"
cmd function failed FUNCTION 42883 rows=0 bytes=0 t=EZ text=
idle yes
