# The client goes while a cancel is under way: what it said before still goes to the target.
ready pinned
> Q 'select 1'
U Q 'select 1'
! cancel
dial
! dialed
A cancel 77 aabbccdd
> Q 'select 2'
! closed client
phase ready
! closed aux
fact cancel forwarded
cmd cancel ok CANCEL - rows=0 bytes=0 t=- text=
U Q 'select 2'
closeside target
phase leaving
< C 'SELECT 0' | Z "I" | C 'SELECT 0' | Z "I"
R C 'SELECT 0' | Z "I" | C 'SELECT 0' | Z "I"
cmd query ok SELECT - rows=0 bytes=0 t=CZ text=select 1
cmd query ok SELECT - rows=0 bytes=0 t=CZ text=select 2
! closed target
close 0
