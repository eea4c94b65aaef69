# OAUTHBEARER by the hint, with a token that is good.
open
> ssl
R raw "S"
tls client
! tls client '' '' cert
> start 3.0 user shop+oauth
R R i32:10 'OAUTHBEARER' x:00
> p 'OAUTHBEARER' i32:23 "n,," x:01 "auth=Bearer tok.e" x:0101
admit shop role= database= hint=oauth app= proof=tok.e
by bearer
! granted open
U start 3.0 user app database shop application_name hansard:k7m2-9xqe
< R i32:0
login 00000000
! login done
R R i32:0
