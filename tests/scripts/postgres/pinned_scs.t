ready pinned
> Q 'set standard_conforming_strings = off'
U Q 'set standard_conforming_strings = off'
< S 'standard_conforming_strings' 'off' | C 'SET' | Z "I"
R error FATAL 0A000 'standard_conforming_strings was changed'
cmd query unknown SET - rows=0 bytes=0 t=- text=set standard_conforming_strings = off
close EFEATURE
