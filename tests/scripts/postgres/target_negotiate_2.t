# The target may only go back to 3.0, and knows of no option that we asked for.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.2 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
key of 32
! granted open disable
U start 3.2 user app database shop application_name hansard:k7m2-9xqe
< v i32:131072 i32:0
fact target_violation NegotiateProtocolVersion makes no sense here
fact login_error NegotiateProtocolVersion makes no sense here
R error FATAL 08006 'login at the target failed (session k7m2-9xqe)'
close ELOGIN
