open
> ssl
R raw "S"
tls client
! tls client
> ssl
fact client_violation SSLRequest was sent twice
R error FATAL 08P01
close EPROTO
