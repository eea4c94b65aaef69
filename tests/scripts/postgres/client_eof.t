# EOF without Terminate, in the middle of a message: whole ones were forwarded, the torn one is not.
ready pinned
> Q 'insert' | raw "Q" i32:50 "half"
U Q 'insert'
! closed client
closeside target
phase leaving
< C 'INSERT 0 1' | Z "I"
R C 'INSERT 0 1' | Z "I"
cmd query ok INSERT - rows=1 bytes=0 t=CZ text=insert
! closed target
close 0
