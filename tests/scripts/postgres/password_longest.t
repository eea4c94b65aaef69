# The longest password, 16 KiB with its head, is waited for.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> raw "p" i32:16383 "x"
! kill EDRAIN
R error FATAL 57P01 'the gateway is shutting down'
close EDRAIN
