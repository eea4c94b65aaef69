# The database does not exist: said after AuthenticationOk, hidden as well. No key: none is invented (bug 12).
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
! login done
R R i32:0
< error FATAL 3D000 'database "shop" does not exist'
fact login_error 3D000 database "shop" does not exist
R error FATAL 08006 'login at the target failed'
close ELOGIN
