# Killed with a command in flight.
ready pinned
> Q 'insert'
U Q 'insert'
! kill ERECORDER
R error FATAL 58030
cmd query unknown INSERT - rows=0 bytes=0 t=- text=insert
close ERECORDER
