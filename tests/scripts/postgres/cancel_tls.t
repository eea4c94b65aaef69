# The session speaks TLS with the target, so the key crosses inside TLS too.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted pinned full
U ssl
< raw "S"
tls target
! tls target
U start 3.0 user app database shop client_encoding UTF8 application_name hansard:k7m2-9xqe
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
A ssl
a raw "S"
tls aux
! tls aux
A cancel 7 a1b2c3d4
! closed aux
fact cancel forwarded
cmd cancel ok CANCEL - rows=0 bytes=0 t=- text=
! cancel
dial
! dialed
A ssl
a raw "N"
fact cancel the target refused TLS for the cancel connection
cmd cancel failed CANCEL - rows=0 bytes=0 t=- text=
closeside aux
! closed aux
< C 'SELECT 0' | Z "I"
R C 'SELECT 0' | Z "I"
cmd query ok SELECT - rows=0 bytes=0 t=CZ text=select 1
