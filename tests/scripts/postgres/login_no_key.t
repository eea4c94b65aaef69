# bug 12: no BackendKeyData from the target, none for the client; a cancel has nowhere to go. Unix socket.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted pinned full unix
U start 3.0 user app database shop client_encoding UTF8 application_name hansard:k7m2-9xqe
< R i32:0
login 00000000
! login done
R R i32:0
< Z "I"
R Z "I"
> Q 'select 1'
U Q 'select 1'
! cancel
fact cancel nothing was in flight: not forwarded
cmd cancel skipped CANCEL - rows=0 bytes=0 t=- text=
