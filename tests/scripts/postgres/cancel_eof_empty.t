# The same with nothing said in between.
ready pinned
> Q 'select 1'
U Q 'select 1'
! cancel
dial
! dialed
A cancel 77 aabbccdd
! closed client
! closed aux
fact cancel forwarded
cmd cancel ok CANCEL - rows=0 bytes=0 t=- text=
closeside target
! closed target
cmd query unknown SELECT - rows=0 bytes=0 t=- text=select 1
close 0
