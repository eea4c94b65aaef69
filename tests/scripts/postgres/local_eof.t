# The client says goodbye while its receipt is on the way: it gets it, and then the target its EOF.
ready pinned
> Q 'SHOW hansard.receipt' | X
receipt
! receipt hsr1:0:3:ab:9
R T i16:1 'hansard.receipt' i32:0 i16:0 i32:25 i16:-1 i32:-1 i16:0 | row hsr1:0:3:ab:9 | C 'SHOW' | Z "I"
U X
cmd query ok SHOW - rows=0 bytes=0 t=- text=SHOW hansard.receipt
closeside target
phase leaving
! closed target
close 0
