# Claims of the startup packet; traceparent is ours alone, the others pass.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop options '-c hansard.run-id=r1 -chansard.task=a\ b --hansard.x=1 -c jit=off' Hansard.Reason 'why not' traceparent '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
R R i32:3
> p 'x'
admit shop role= database= hint= app= proof=x
! granted pinned disable
fact claim.run_id r1
fact claim.task a b
fact claim.x 1
fact claim.reason why not
fact claim.traceparent 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
U start 3.0 user app database shop hansard.run_id r1 hansard.task 'a b' hansard.x 1 jit off Hansard.Reason 'why not' client_encoding UTF8 application_name 'hansard:k7m2-9xqe'
