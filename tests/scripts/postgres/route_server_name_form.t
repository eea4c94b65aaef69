# A user name of no form at all: the operating system's, say.
open
> ssl
R raw "S"
tls client
! tls client postgresql Orders
> start 3.0 user 'DOMAIN\Alice_S' database stock
R R i32:3
> p 'x'
admit orders role= database=stock hint= app= proof=x
routed by server name
