# bug 20: a JWT of 40 KB is a password.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p big:70000 ''
fact client_violation invalid message length
R error FATAL 08P01
close EPROTO
