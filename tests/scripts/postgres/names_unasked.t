# What is no answer to a look-up ends the session.
ready open names
> Q 'select * from a'
U Q 'select * from a'
< C 'SELECT 0' | Z "I"
R C 'SELECT 0' | Z "I"
cmd query ok SELECT - rows=0 bytes=0 t=CZ text=select * from a
lookup PBECCS {""} {"a"} {}
< t i16:0
fact target_violation an answer to the gateway's look-up is of a wrong type
R error FATAL 08P01 'protocol violation by the target'
close EUPSTREAM
