open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop database other replication OFF
R R i32:3
> p 'x'
admit shop role= database=other hint= app= proof=x
