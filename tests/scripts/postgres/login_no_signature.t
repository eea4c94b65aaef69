# AuthenticationOk before the keeper has seen the server's signature does not count.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted pinned disable
U start 3.0 user app database shop client_encoding UTF8 application_name hansard:k7m2-9xqe
< R i32:0
login 00000000
! login
fact login_error the target ended authentication too early
R error FATAL 08006 'login at the target failed (session k7m2-9xqe)'
close ELOGIN
