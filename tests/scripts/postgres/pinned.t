# A pinned session ends when what text means changes; the change is not shown to the client.
ready pinned
> Q 'set client_encoding = latin1'
U Q 'set client_encoding = latin1'
< C 'SET' | S 'client_encoding' 'LATIN1' | Z "I"
R C 'SET' | error FATAL 0A000 'client_encoding was changed to "LATIN1"'
cmd query unknown SET - rows=0 bytes=0 t=C text=set client_encoding = latin1
close EFEATURE
