# bug 9: the command ended before the connection stood: the cancel is not sent.
ready pinned
> Q 'select 1'
U Q 'select 1'
! cancel
dial
> Q 'select 2'
< row 1 | C 'SELECT 1' | Z "I"
R row 1 | C 'SELECT 1' | Z "I"
cmd query ok SELECT - rows=1 bytes=7 t=DCZ text=select 1
! dialed
fact cancel the command ended first: not forwarded
cmd cancel skipped CANCEL - rows=0 bytes=0 t=- text=
closeside aux
U Q 'select 2'
! closed aux
< C 'SELECT 0' | Z "I"
R C 'SELECT 0' | Z "I"
cmd query ok SELECT - rows=0 bytes=0 t=CZ text=select 2
