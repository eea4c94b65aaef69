# sslnegotiation=direct: what is there belongs to TLS, and ALPN says what is meant. Long keys, and a
# cancel that goes the same way.
open
> raw x:16
tls client direct
! tls client postgresql
> start 3.0 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted open full direct
tls target direct
phase target-tls
! tls target postgresql
U start 3.0 user app database shop application_name hansard:k7m2-9xqe
< R i32:0
login 00000000
! login done
R R i32:0
< K i32:7 x:a1b2c3d4 | Z "I"
backend 7
R K i32:7 x:01020304 | Z "I"
> Q 'select 1'
U Q 'select 1'
! cancel
dial
! dialed
tls aux direct
! tls aux postgresql
A cancel 7 a1b2c3d4
! closed aux
fact cancel forwarded
cmd cancel ok CANCEL - rows=0 bytes=0 t=- text=
