ready open
> Q 'set client_encoding = latin1'
U Q 'set client_encoding = latin1'
< S 'client_encoding' 'LATIN1' | C 'SET' | Z "I"
R S 'client_encoding' 'LATIN1' | C 'SET' | Z "I"
cmd query ok SET - rows=0 bytes=0 t=CZ text=set client_encoding = latin1
idle yes
