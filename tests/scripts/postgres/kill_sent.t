# Two commands without an answer, one of which was sent: the outcome is not known.
ready pinned
> Q 'insert' | Q 'delete'
U Q 'insert' | Q 'delete'
! kill ERECORDER 12
R error FATAL 58030 the session can no longer be recorded / a command without an answer may have reached the target
cmd query unknown INSERT - rows=0 bytes=0 t=- text=insert
cmd query unknown DELETE - rows=0 bytes=0 t=- text=delete
close ERECORDER
