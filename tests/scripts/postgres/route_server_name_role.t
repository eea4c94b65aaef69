open
> ssl
R raw "S"
tls client
! tls client postgresql orders
> start 3.0 user ro.alice database ro.alice
R R i32:3
> p 'x'
admit orders role=ro database= hint= app= proof=x
routed by server name
