# A mistyped user name beside a database that is called like a connection: not that connection.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user ro.shpo database shop
R R i32:3
> p 'x'
admit shpo role=ro database=shop hint= app= proof=x
