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
< raw "E"
fact login_error the target answered SSLRequest with an error
R error FATAL 08006 'login at the target failed'
close ELOGIN
