# TLS, token, trust at the target, two simple queries, Terminate.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop database shop application_name psql client_encoding UTF8
R R i32:3
> p 'hsd1_token'
admit shop role= database= hint= app=psql proof=hsd1_token
! granted pinned disable
U start 3.0 user app database shop client_encoding UTF8 application_name 'psql hansard:k7m2-9xqe'
phase login
< R i32:0
login 00000000
! login done
R R i32:0
< S 'server_version' '15.4' | S 'client_encoding' 'UTF8' | S 'standard_conforming_strings' 'on' | K i32:4242 x:a1b2c3d4 | Z "I"
fact server_version 15.4
backend 4242
R S 'server_version' '15.4' | S 'client_encoding' 'UTF8' | S 'standard_conforming_strings' 'on' | K i32:4242 x:01020304 | Z "I"
idle yes
> Q 'select 1'
U Q 'select 1'
idle no
< desc a | row 1 | C 'SELECT 1' | Z "I"
R desc a | row 1 | C 'SELECT 1' | Z "I"
cmd query ok SELECT - rows=1 bytes=7 t=TDCZ text=select 1
> Q '/* x */ update t set a = 1'
U Q '/* x */ update t set a = 1'
< C 'UPDATE 17' | Z "T"
R C 'UPDATE 17' | Z "T"
cmd query ok UPDATE - rows=17 bytes=0 t=CZ text=/* x */ update t set a = 1
idle no
> Q 'commit'
U Q 'commit'
< C 'COMMIT' | Z "I"
R C 'COMMIT' | Z "I"
cmd query ok COMMIT - rows=0 bytes=0 t=CZ text=commit
idle yes
> X | Q 'after the end'
U X
closeside target
phase leaving
! closed target
close 0
