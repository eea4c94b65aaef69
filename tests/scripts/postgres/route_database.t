# A tool with a user name of its own.
open
> ssl
R raw "S"
tls client
! tls client postgresql unknown
> start 3.0 user postgres database orders/stock
R R i32:3
> p 'x'
admit orders role=postgres database=stock hint= app= proof=x
routed by database, role optional
