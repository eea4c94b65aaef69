# A listener without TLS: 'N', and then no proof is taken in clear. Loopback or not.
open notls
> ssl
R raw "N"
> start 3.0 user shop
R error FATAL 28000 'TLS is required'
close EAUTH
