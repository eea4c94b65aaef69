# The target's own words are for the record.
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
< error FATAL 28P01 'password authentication failed for user "app"'
fact login_error 28P01 password authentication failed for user "app"
R error FATAL 08006 'login at the target failed (session k7m2-9xqe)'
close ELOGIN
