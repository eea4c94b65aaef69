# The session id stays whole in PostgreSQL's 63 bytes.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop application_name 'aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg'
R R i32:3
> p 'x'
admit shop role= database= hint= app=aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg proof=x
! granted open disable
U start 3.0 user app database shop application_name 'aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeee hansard:k7m2-9xqe'
