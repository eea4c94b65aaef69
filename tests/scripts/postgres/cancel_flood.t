# bug 10: one at a time; a dial that fails; a target that never closes.
ready pinned
> Q 'select 1'
U Q 'select 1'
! cancel
dial
! cancel
fact cancel another one is under way
! closed aux ECONNECT
fact cancel the target could not be reached for it
cmd cancel failed CANCEL - rows=0 bytes=0 t=- text=
! cancel
dial
! timer
fact cancel the target could not be reached for it within 5 s
cmd cancel failed CANCEL - rows=0 bytes=0 t=- text=
closeside aux
! dialed
closeside aux
! closed aux
! cancel
dial
! dialed
A cancel 77 aabbccdd
> Q 'select 2'
! timer
fact cancel the target did not confirm it
cmd cancel unknown CANCEL - rows=0 bytes=0 t=- text=
R error FATAL 08006 'a cancel request was not confirmed'
cmd query unknown SELECT - rows=0 bytes=0 t=- text=select 1
close ETIMEOUT
