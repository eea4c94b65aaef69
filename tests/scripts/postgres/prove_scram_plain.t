# A certificate that cannot be bound to: no PLUS. A client that sends its first message late gets an empty
# challenge first.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop+x
R R i32:10 'SCRAM-SHA-256' x:00
> p 'SCRAM-SHA-256' i32:-1
R R i32:11
> p "first"
prove shop hint=x SCRAM-SHA-256 first
! proved challenge
R R i32:11 "challenge"
> p "last"
admit shop role= database= hint=x app= proof=last
by scram
! refused EREFUSED not admitted (ref 7f3a)
R error FATAL 28000 'not admitted (ref 7f3a)'
close EREFUSED
