open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! refused ECONNECT target cannot be reached (ref 12)
R error FATAL 08006 'target cannot be reached (ref 12)'
close ECONNECT
