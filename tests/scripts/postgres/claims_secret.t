# What is hidden from the record is no claim.
ready pinned
> Q "set hansard.password = 'hunter2'" x:00
hide client hunter2
U Q "set hansard.password = 'hunter2'" x:00
< C 'SET' | Z "I"
R C 'SET' | Z "I"
cmd query ok SET - rows=0 bytes=0 t=CZ text=set hansard.password = '*******'
