# hygiene: open alters nothing and checks no text.
ready open
> raw "Q" i32:8 "a" x:ff "b" x:00
U raw "Q" i32:8 "a" x:ff "b" x:00
< S 'client_encoding' 'LATIN1' | S 'standard_conforming_strings' 'off' | C 'SET' | Z "I"
R S 'client_encoding' 'LATIN1' | S 'standard_conforming_strings' 'off' | C 'SET' | Z "I"
cmd query ok A - rows=0 bytes=0 t=CZ text=aÿb
idle yes
