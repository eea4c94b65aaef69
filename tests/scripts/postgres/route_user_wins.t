# Three names, three connections: the user name wins.
open
> ssl
R raw "S"
tls client
! tls client postgresql orders
> start 3.0 user ro.shop database orders/stock
R R i32:3
> p 'x'
admit shop role=ro database=orders/stock hint= app= proof=x
