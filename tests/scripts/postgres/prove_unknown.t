# A connection that is not there looks like one that says nothing of proofs.
open
> ssl
R raw "S"
tls client
! tls client '' '' cert
> start 3.0 user nowhere
R R i32:3
phase password
