# The length inside says more than there is.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop+x
R R i32:10 'SCRAM-SHA-256' x:00
> p 'SCRAM-SHA-256' i32:6 "first"
fact client_violation invalid SASLInitialResponse
R error FATAL 08P01
close EPROTO
