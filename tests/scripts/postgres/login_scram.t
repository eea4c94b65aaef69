# SCRAM at the target: challenges to the keeper, answers back as 'p', TLS with the target.
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
phase ask-tls
< raw "S"
tls target
! tls target
U start 3.0 user app database shop client_encoding UTF8 application_name hansard:k7m2-9xqe
# bugs 21, 33: nothing of the login is shown to the client
< N "MX" x:0000 | R i32:10 'SCRAM-SHA-256' ''
login 0000000a534352414d2d5348412d3235360000
! login x:aabb
U p x:aabb
< R i32:11 "r=1"
login 0000000b723d31
! login x:cc
U p x:cc
# SASLFinal, AuthenticationOk and all the rest in one read: the keeper is asked before it counts
< R i32:12 "v=1" | R i32:0 | N "MY" x:0000 | S 'server_version' '15.4' | K i32:7 x:00000001 | Z "I"
login 0000000c763d31
! login
login 00000000
! login done
fact server_version 15.4
backend 7
R R i32:0 | N "MY" x:0000 | S 'server_version' '15.4' | K i32:7 x:01020304 | Z "I"
phase ready
