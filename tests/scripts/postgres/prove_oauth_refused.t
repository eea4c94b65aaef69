# Refused for what is no fault of the token: no challenge, the end at once.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop+oauth
R R i32:10 'OAUTHBEARER' x:00
> p 'OAUTHBEARER' i32:19 "n,," x:01 "auth=Bearer x" x:0101
admit shop role= database= hint=oauth app= proof=x
by bearer
! refused EBUSY too many sessions (ref 7f3a)
R error FATAL 53300 'too many sessions'
close EBUSY
