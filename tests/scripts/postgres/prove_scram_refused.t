# The keeper may refuse at the first message: a downgrade.
open
> ssl
R raw "S"
tls client
! tls client '' '' cert
> start 3.0 user shop+x
R R i32:10 'SCRAM-SHA-256-PLUS' 'SCRAM-SHA-256' x:00
> p 'SCRAM-SHA-256' i32:5 "first"
prove shop hint=x SCRAM-SHA-256 first
! refused EREFUSED not admitted (ref 7f3a)
R error FATAL 28000 'not admitted (ref 7f3a)'
close EREFUSED
