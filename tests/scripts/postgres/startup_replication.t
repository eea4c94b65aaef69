# Whether it may is the keeper's to say, behind the proof.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop replication database
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
wants replication
! refused EFEATURE replication connections are refused by this connection (ref 7f3a)
R error FATAL 0A000 'replication connections are refused by this connection (ref 7f3a)'
close EFEATURE
