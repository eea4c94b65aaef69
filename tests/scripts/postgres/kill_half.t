# Killed while an answer is half-way to the client: nothing can be said inside a message.
ready pinned
> Q 'select big'
U Q 'select big'
< raw "D" i32:100000 "abc"
! kill EKILLED
R raw "D" i32:100000 "abc"
cmd query unknown SELECT - rows=1 bytes=99996 t=D text=select big
close EKILLED
