open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop+x
R R i32:10 'SCRAM-SHA-256' x:00
> p 'SCRAM-SHA-256' i32:20000 big:20000
R error FATAL 54000 'the password is too long'
close ELIMIT
