# bug 18: a newer minor version and unknown protocol options are negotiated down.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.9999 user shop _pq_.test_protocol_negotiation '' _pq_.command_tag x
R v i32:196608 i32:2 '_pq_.test_protocol_negotiation' '_pq_.command_tag' | R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted open disable
U start 3.0 user app database shop application_name hansard:k7m2-9xqe
