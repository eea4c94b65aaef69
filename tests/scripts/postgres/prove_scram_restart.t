# The keeper is gone for good.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop+x
R R i32:10 'SCRAM-SHA-256' x:00
> p 'SCRAM-SHA-256' i32:5 "first"
prove shop hint=x SCRAM-SHA-256 first
! refused EKEEPER the gateway is not ready
R error FATAL 57P01 'the gateway is not ready'
close EKEEPER
