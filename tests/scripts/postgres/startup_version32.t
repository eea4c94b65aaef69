# 3.2 on both sides: long keys, each its own; the target's is kept whole for a cancel.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.2 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
key of 32
! granted open disable
U start 3.2 user app database shop application_name hansard:k7m2-9xqe
< R i32:0
login 00000000
! login done
fact protocol 3.2 with the client, 3.2 with the target
R R i32:0
< K i32:7 x:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122 | Z "I"
backend 7
R K i32:7 x:0102030405050505050505050505050505050505050505050505050505050505 | Z "I"
> Q 'select 1'
U Q 'select 1'
! cancel
dial
! dialed
A cancel 7 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122
! closed aux
fact cancel forwarded
cmd cancel ok CANCEL - rows=0 bytes=0 t=- text=
