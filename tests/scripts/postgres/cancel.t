# bugs 9, 11: a cancel with the target's own pid and key, and nothing new until the target took note.
ready pinned
> Q 'select pg_sleep(9)'
U Q 'select pg_sleep(9)'
! cancel
dial
> Q 'select 2'
! dialed
A cancel 77 aabbccdd
# the command ends before the target has closed the cancel connection: still nothing new
< error ERROR 57014 'canceling statement' | Z "I"
R error ERROR 57014 | Z "I"
cmd query failed SELECT 57014 rows=0 bytes=0 t=EZ text=select pg_sleep(9)
! closed aux
fact cancel forwarded
cmd cancel ok CANCEL - rows=0 bytes=0 t=- text=
U Q 'select 2'
< row 2 | C 'SELECT 1' | Z "I"
R row 2 | C 'SELECT 1' | Z "I"
cmd query ok SELECT - rows=1 bytes=7 t=DCZ text=select 2
idle yes
# idle: not forwarded
! cancel
fact cancel nothing was in flight: not forwarded
cmd cancel skipped CANCEL - rows=0 bytes=0 t=- text=
