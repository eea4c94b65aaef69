# The user name names no connection: the TLS server name does, and the user name is a role, if any.
open
> ssl
R raw "S"
tls client
! tls client postgresql orders
> start 3.0 user ro+key7 database stock
R R i32:3
> p 'x'
admit orders role=ro database=stock hint=key7 app= proof=x
routed by server name, role optional
