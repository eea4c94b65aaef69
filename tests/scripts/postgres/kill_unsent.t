# The recorder is lost while a command waits for it: the client is told that it was not sent.
ready pinned
> Q 'insert'
U Q 'insert'
! kill ERECORDER 12
R error FATAL 58030 the session can no longer be recorded / every command that was sent to the target was answered
cmd query unknown INSERT - rows=0 bytes=0 t=- text=insert
close ERECORDER
