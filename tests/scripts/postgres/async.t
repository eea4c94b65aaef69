# bug 22: N, A and S flow when nothing is asked, and between any two answers.
ready pinned
< A i32:9 'chan' 'payload' | N "SNOTICE" x:00 "C00000" x:00 "Mhello" x:0000 | S 'TimeZone' 'UTC'
R A i32:9 'chan' 'payload' | N "SNOTICE" x:00 "C00000" x:00 "Mhello" x:0000 | S 'TimeZone' 'UTC'
idle yes
> Q 'select 1'
U Q 'select 1'
< A i32:9 'c' '' | desc a | N "MX" x:0000 | row 1 | S 'application_name' 'x' | C 'SELECT 1' | A i32:9 'c' '' | Z "I"
R A i32:9 'c' '' | desc a | N "MX" x:0000 | row 1 | S 'application_name' 'x' | C 'SELECT 1' | A i32:9 'c' '' | Z "I"
cmd query ok SELECT - rows=1 bytes=7 t=TNDSCAZ text=select 1
