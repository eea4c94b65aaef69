open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 database shop
R error FATAL 28000 'no user name'
close EPROTO
