# sslmode=disable.
open
> start 3.0 user shop
R error FATAL 28000 'TLS is required'
close EAUTH
