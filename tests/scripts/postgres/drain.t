# Drained at the next idle moment, not inside a transaction.
ready pinned
> Q 'begin'
U Q 'begin'
! drain
< C 'BEGIN' | Z "T"
R C 'BEGIN' | Z "T"
cmd query ok BEGIN - rows=0 bytes=0 t=CZ text=begin
> Q 'commit'
U Q 'commit'
< C 'COMMIT' | Z "I"
R C 'COMMIT' | Z "I"
cmd query ok COMMIT - rows=0 bytes=0 t=CZ text=commit
R error FATAL 57P01 'the gateway is shutting down'
close EDRAIN
