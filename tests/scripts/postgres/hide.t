# Credentials in statements: passed on as they were said, left out of the record.
ready pinned
> Q "alter role a password 'hunter2' login; select 'hunter3'" x:00
hide client hunter2
U Q "alter role a password 'hunter2' login; select 'hunter3'" x:00
# the target quotes the statement: by its form, and by the very bytes
< E "SERROR" x:00 "C42601" x:00 "Mrole hunter2 is bad" x:00 "WSQL statement " x:22 "alter role b password 'zzz'" x:22 x:0000 | Z "I"
hide target hunter2
hide target zzz
R E "SERROR" x:00 "C42601" x:00 "Mrole hunter2 is bad" x:00 "WSQL statement " x:22 "alter role b password 'zzz'" x:22 x:0000 | Z "I"
cmd query failed ALTER 42601 rows=0 bytes=0 t=EZ text=alter role a password '*******' login; select 'hunter3'
idle yes
# once idle, what was hidden is forgotten
> Q 'select 1'
U Q 'select 1'
< N "SNOTICE" x:00 "C00000" x:00 "Mhunter2" x:0000 | C 'SELECT 1' | Z "I"
R N "SNOTICE" x:00 "C00000" x:00 "Mhunter2" x:0000 | C 'SELECT 1' | Z "I"
cmd query ok SELECT - rows=1 bytes=0 t=CZ text=select 1
# A notice in the middle of the command; a connection string keeps all but its password.
> Q "select dblink_connect('host=h password=secret1 port=1')" x:00
hide client secret1
U Q "select dblink_connect('host=h password=secret1 port=1')" x:00
< N "SNOTICE" x:00 "C00000" x:00 "Musing password=secret1" x:00 "Fsecret1.c" x:0000 | E "SERROR" x:00 "C08001" x:00 "Mno" x:0000 | Z "I"
hide target secret1
R N "SNOTICE" x:00 "C00000" x:00 "Musing password=secret1" x:00 "Fsecret1.c" x:0000 | E "SERROR" x:00 "C08001" x:00 "Mno" x:0000 | Z "I"
cmd query failed SELECT 08001 rows=0 bytes=0 t=EZ text=select dblink_connect('host=h password=******* port=1')
