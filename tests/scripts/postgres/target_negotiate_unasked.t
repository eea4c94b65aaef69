# We asked for 3.0: there is nothing to negotiate.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted open disable
U start 3.0 user app database shop application_name hansard:k7m2-9xqe
< v i32:196608 i32:0
fact target_violation NegotiateProtocolVersion makes no sense here
fact login_error NegotiateProtocolVersion makes no sense here
R error FATAL 08006 'login at the target failed (session k7m2-9xqe)'
close ELOGIN
