# The user name names no connection: the TLS server name does, and the user name is a role, if any.
open
> ssl
R raw "S"
tls client
! tls client postgresql orders
> start 3.0 user ro+oauth database stock
R R i32:10 'OAUTHBEARER' x:00
> p 'OAUTHBEARER' i32:19 "n,," x:01 "auth=Bearer x" x:0101
admit orders role=ro database=stock hint=oauth app= proof=x
routed by server name, role optional
by bearer
