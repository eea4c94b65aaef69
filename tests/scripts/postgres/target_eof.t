# The target goes without a word.
ready pinned
> Q 'select 1'
U Q 'select 1'
< row 1 | raw "D" i32:100
R row 1
! closed target
R error FATAL 08006 'the target closed the connection'
cmd query unknown SELECT - rows=1 bytes=7 t=D text=select 1
close EUPSTREAM
