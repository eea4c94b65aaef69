# More than is remembered: until the session is idle, nothing of the target's words is kept.
ready pinned
> Q "alter role a password '" big:20000 "'" x:00
hide client xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
U Q "alter role a password '" big:20000 "'" x:00
< E "SERROR" x:00 "C42601" x:00 "Mwhatever" x:00 "Fgram.y" x:0000 | Z "I"
hide target whatever
R E "SERROR" x:00 "C42601" x:00 "Mwhatever" x:00 "Fgram.y" x:0000 | Z "I"
cmd query failed ALTER 42601 rows=0 bytes=0 t=EZ text=alter role a password '*********************************************************************************************************************************************************************************
> Q 'x'
U Q 'x'
< E "SERROR" x:00 "C42601" x:00 "Mwhatever" x:00 "Fgram.y" x:0000 | Z "I"
R E "SERROR" x:00 "C42601" x:00 "Mwhatever" x:00 "Fgram.y" x:0000 | Z "I"
cmd query failed X 42601 rows=0 bytes=0 t=EZ text=x
# A Bind that is longer than what is shown is asked for whole when its statement has such a parameter.
> P '' "select crypt($1, $2)" x:00 i16:0 | B '' '' i16:0 i16:2 i32:80000 big:80000 i32:1 "s" i16:0 | E '' i32:0 | S
hide client xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
U P '' "select crypt($1, $2)" x:00 i16:0 | B '' '' i16:0 i16:2 i32:80000 big:80000 i32:1 "s" i16:0 | E '' i32:0 | S
< 1 | 2 | row x | C 'SELECT 1' | Z "I"
R 1 | 2 | row x | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=7 t=12DC text=select crypt($1, $2)
