# hygiene: open passes what the client says, but for what is ours.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop database shop options '-c role=x' client_encoding LATIN1 foo bar replication false
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted open disable
U start 3.0 user app database shop options '-c role=x' client_encoding LATIN1 foo bar application_name hansard:k7m2-9xqe
