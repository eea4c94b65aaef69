# By the connection's default; no token: where to get one is said, acknowledged, and then the end.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user by-oauth
R R i32:10 'OAUTHBEARER' x:00
> p 'OAUTHBEARER' i32:11 "n,," x:01 "auth=" x:0101
admit by-oauth role= database= hint= app= proof=
by bearer
! challenged EREFUSED not admitted (ref 7f3a)
R R i32:11 x:7b22737461747573223a22696e76616c69645f746f6b656e227d
phase sasl-refused
> p x:01
R error FATAL 28000 'not admitted (ref 7f3a)'
close EREFUSED
