# Killed with a command in flight.
ready pinned
> Q 'insert'
U Q 'insert'
! kill ENOSPACE
R error FATAL 53100
cmd query unknown INSERT - rows=0 bytes=0 t=- text=insert
close ENOSPACE
