# A pinned session ends when what text means changes unseen; the change is not shown to the client.
ready pinned
> Q 'select latin()'
U Q 'select latin()'
< C 'SELECT 1' | S 'client_encoding' 'LATIN1' | Z "I"
R C 'SELECT 1' | error FATAL 0A000 'client_encoding was changed to "LATIN1"'
cmd query unknown SELECT - rows=1 bytes=0 t=C text=select latin()
close EFEATURE
