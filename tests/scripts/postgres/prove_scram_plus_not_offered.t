open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop+x
R R i32:10 'SCRAM-SHA-256' x:00
> p 'SCRAM-SHA-256-PLUS' i32:5 "first"
fact client_violation a SASL mechanism that was not offered
R error FATAL 08P01
close EPROTO
