ready pinned
> Q 'select strings()'
U Q 'select strings()'
< S 'standard_conforming_strings' 'off' | C 'SELECT 1' | Z "I"
R error FATAL 0A000 'standard_conforming_strings was changed'
cmd query unknown SELECT - rows=0 bytes=0 t=- text=select strings()
close EFEATURE
