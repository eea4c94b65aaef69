# The connection's default database.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user postgres database orders/
R R i32:3
> p 'x'
admit orders role=postgres database= hint= app= proof=x
routed by database, role optional
