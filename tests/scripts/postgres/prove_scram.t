# The hint is the id of a key: SCRAM, with PLUS because our certificate can be bound to. The server's last
# word comes before AuthenticationOk.
open
> ssl
R raw "S"
tls client
! tls client '' '' cert
> start 3.0 user ro.shop+k7m2-9xqe
R R i32:10 'SCRAM-SHA-256-PLUS' 'SCRAM-SHA-256' x:00
phase sasl
> p 'SCRAM-SHA-256-PLUS' i32:5 "first"
prove shop hint=k7m2-9xqe SCRAM-SHA-256-PLUS first
phase prove
! proved challenge
R R i32:11 "challenge"
phase sasl-final
> p "last"
admit shop role=ro database= hint=k7m2-9xqe app= proof=last
by scram
! granted open disable final:v=sig
U start 3.0 user app database shop application_name hansard:k7m2-9xqe
< R i32:0
login 00000000
! login done
R R i32:12 "v=sig" | R i32:0
