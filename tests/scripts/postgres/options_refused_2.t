# Refused by name in a pinned session, after the proof.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop options '--session-authorization=x'
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted pinned disable
R error FATAL 0A000
close EPERM
