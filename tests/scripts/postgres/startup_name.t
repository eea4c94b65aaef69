# bug 2: a name that is not one never gets as far as a password.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user 'Shop;drop'
R error FATAL 28000 'not admitted'
close EREFUSED
