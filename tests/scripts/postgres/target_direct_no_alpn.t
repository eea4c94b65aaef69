# Who agrees on nothing may be anything: no StartupMessage for it.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted open full direct
tls target direct
! tls target
fact login_error the target's TLS does not agree on PostgreSQL (ALPN), which direct TLS needs
R error FATAL 08006 'login at the target failed (session k7m2-9xqe)'
close ELOGIN
