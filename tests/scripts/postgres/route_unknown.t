# Nothing names a connection: what is said until the proof is the same, and the keeper refuses.
open
> ssl
R raw "S"
tls client
! tls client postgresql other
> start 3.0 user nowhere database elsewhere
R R i32:3
> p 'x'
admit nowhere role= database=elsewhere hint= app= proof=x
! refused EREFUSED not admitted (ref 7f3a)
R error FATAL 28000 'not admitted (ref 7f3a)'
close EREFUSED
