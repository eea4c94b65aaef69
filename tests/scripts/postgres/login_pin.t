# The pin holds from the first ParameterStatus on.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted pinned disable
U start 3.0 user app database shop client_encoding UTF8 application_name hansard:k7m2-9xqe
< R i32:0
login 00000000
! login done
R R i32:0
< S 'standard_conforming_strings' 'off' | Z "I"
R error FATAL 0A000 'standard_conforming_strings was changed'
close EFEATURE
