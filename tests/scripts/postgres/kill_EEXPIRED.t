# Killed with a command in flight.
ready pinned
> Q 'insert'
U Q 'insert'
! kill EEXPIRED
R error FATAL 57P01
cmd query unknown INSERT - rows=0 bytes=0 t=- text=insert
close EEXPIRED
