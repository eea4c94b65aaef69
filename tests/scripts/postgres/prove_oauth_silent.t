# A client that never acknowledges is told at the phase's deadline.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop+oauth
R R i32:10 'OAUTHBEARER' x:00
> p 'OAUTHBEARER' i32:11 "n,," x:01 "auth=" x:0101
admit shop role= database= hint=oauth app= proof=
by bearer
! challenged EREFUSED not admitted (ref 7f3a)
R R i32:11 x:7b22737461747573223a22696e76616c69645f746f6b656e227d
! timer
R error FATAL 57014 'login took too long'
close ETIMEOUT
