# Killed before admission: half a password is not kept, and nothing is said of a target.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> raw "p" i32:20 "secr"
! kill EDRAIN
R error FATAL 57P01 'the gateway is shutting down'
close EDRAIN
