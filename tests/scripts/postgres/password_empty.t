# The keeper decides about an empty one as well; a message other than 'p' is refused.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> Q 'select 1'
fact client_violation message is not legal in this phase
R error FATAL 08P01
close EPROTO
