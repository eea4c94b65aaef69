# Granted: CopyBoth, data both ways, and Ready again. Physical: the database that tools name is none.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop database replication replication yes
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
wants replication
! granted pinned disable
U start 3.0 user app database shop replication true client_encoding UTF8 application_name hansard:k7m2-9xqe
< R i32:0
login 00000000
! login done
R R i32:0
< Z "I"
R Z "I"
> Q 'IDENTIFY_SYSTEM'
U Q 'IDENTIFY_SYSTEM'
< desc systemid | row 77 | C 'IDENTIFY_SYSTEM' | Z "I"
R desc systemid | row 77 | C 'IDENTIFY_SYSTEM' | Z "I"
cmd query ok IDENTIFY_SYSTEM - rows=1 bytes=8 t=TDCZ text=IDENTIFY_SYSTEM
> Q 'START_REPLICATION 0/0 TIMELINE 1'
U Q 'START_REPLICATION 0/0 TIMELINE 1'
< W i8:0 i16:0 | d x:7700ff
R W i8:0 i16:0 | d x:7700ff
> d x:7201 | d x:7202
U d x:7201 | d x:7202
< d x:6b00
R d x:6b00
idle no
> c
U c
< c | C 'COPY 0' | C 'START_STREAMING' | Z "I"
R c | C 'COPY 0' | C 'START_STREAMING' | Z "I"
cmd query ok START_REPLICATION - rows=0 bytes=9 t=WddcCCZ text=START_REPLICATION 0/0 TIMELINE 1
