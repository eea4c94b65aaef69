open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop replication database
R error FATAL 0A000 'replication'
close EFEATURE
