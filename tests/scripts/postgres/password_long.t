# bug 20: a JWT is a long password; one that is longer than all that a client may send before it is admitted is refused at
# its head, with a text that says so.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p big:16379 ''
R error FATAL 54000 'the password is too long'
close ELIMIT
