# bug 19: GSSENCRequest first, then SSLRequest, on one connection.
open
> gss
R raw "N"
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user ro.shop database other
R R i32:3
> p 'x'
admit shop role=ro database=other hint= app= proof=x
! refused EREFUSED not admitted (ref 7f3a)
R error FATAL 28000 'not admitted (ref 7f3a)'
close EREFUSED
