# What the client says before it was asked stays where it is; then it is the last message, and wrong.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop+x | p 'SCRAM-SHA-256' i32:5 "first" | p "last"
R R i32:10 'SCRAM-SHA-256' x:00
prove shop hint=x SCRAM-SHA-256 first
! proved challenge
R R i32:11 "challenge"
admit shop role= database= hint=x app= proof=last
by scram
! refused EREFUSED not admitted (ref 7f3a)
R error FATAL 28000 'not admitted (ref 7f3a)'
close EREFUSED
