# bug 18: a newer minor version and unknown protocol options are negotiated down, to what we speak.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.9999 user shop _pq_.test_protocol_negotiation '' _pq_.command_tag x
R v i32:196610 i32:2 '_pq_.test_protocol_negotiation' '_pq_.command_tag' | R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
key of 32
! granted open disable
U start 3.2 user app database shop application_name hansard:k7m2-9xqe
# an older server: its own 'v' is for us, the client was answered already
< v i32:196608 i32:0 | R i32:0
login 00000000
! login done
fact protocol 3.2 with the client, 3.0 with the target
R R i32:0
< K i32:7 x:a1b2c3d4 | Z "I"
backend 7
R K i32:7 x:0102030405050505050505050505050505050505050505050505050505050505 | Z "I"
