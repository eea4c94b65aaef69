# The connection asks for SCRAM, and the user name has no key id: said in clear text.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user by-scram
R error FATAL 28000 'the user name needs the id of a key'
close EAUTH
