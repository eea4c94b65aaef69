open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop+oauth
R R i32:10 'OAUTHBEARER' x:00
> p 'OAUTHBEARER' i32:3 "n,,"
fact client_violation malformed OAUTHBEARER message
R error FATAL 08P01
close EPROTO
