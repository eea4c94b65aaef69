# A change that stands in the text is refused before it is sent, and with it what was said behind it.
ready pinned
> Q 'set client_encoding = utf8' | Q "SET NAMES 'UTF-8'" x:00 | Q 'set local standard_conforming_strings to on' | Q 'reset client_encoding'
U Q 'set client_encoding = utf8' | Q "SET NAMES 'UTF-8'" x:00 | Q 'set local standard_conforming_strings to on' | Q 'reset client_encoding'
< C 'SET' | Z "I" | C 'SET' | Z "I" | C 'SET' | Z "I" | C 'RESET' | Z "I"
R C 'SET' | Z "I" | C 'SET' | Z "I" | C 'SET' | Z "I" | C 'RESET' | Z "I"
cmd query ok SET - rows=0 bytes=0 t=CZ text=set client_encoding = utf8
cmd query ok SET - rows=0 bytes=0 t=CZ text=SET NAMES 'UTF-8'
cmd query ok SET - rows=0 bytes=0 t=CZ text=set local standard_conforming_strings to on
cmd query ok RESET - rows=0 bytes=0 t=CZ text=reset client_encoding
# of a role it is not for this session; in a string it is none
> Q "alter role a set client_encoding = latin1; select 'set client_encoding = latin1'" x:00
U Q "alter role a set client_encoding = latin1; select 'set client_encoding = latin1'" x:00
< C 'ALTER ROLE' | C 'SELECT 1' | Z "I"
R C 'ALTER ROLE' | C 'SELECT 1' | Z "I"
cmd query ok ALTER - rows=1 bytes=0 t=CCZ text=alter role a set client_encoding = latin1; select 'set client_encoding = latin1'
> Q 'select 1; /* x */ Set Session client_encoding TO "Latin1"' | Q 'insert'
R error FATAL 0A000 'client_encoding is pinned: the statement was not sent'
close EFEATURE
