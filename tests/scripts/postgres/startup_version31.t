# 3.1 never was: PostgreSQL takes it for 3.0, and so do we. An option it does not know gets a 'v'.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.1 user shop _pq_.x 1
R v i32:196609 i32:1 '_pq_.x' | R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted open disable
U start 3.0 user app database shop application_name hansard:k7m2-9xqe
