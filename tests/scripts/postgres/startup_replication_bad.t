open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop replication maybe
R error FATAL 22023 'invalid value'
close EPROTO
