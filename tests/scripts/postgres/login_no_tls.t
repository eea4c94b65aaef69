# bug 32: 'N' and 'E' from the target are not 'S'.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted pinned require
U ssl
< raw "N"
fact login_error the target does not offer TLS, which this connection requires
R error FATAL 08006 'login at the target failed'
close ELOGIN
