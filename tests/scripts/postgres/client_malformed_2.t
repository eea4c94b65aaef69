# Malformed: nothing of it reaches the target (bug 5).
ready open
> raw "P" i32:6 x:0000
fact client_violation malformed Parse
R error FATAL 08P01
close EPROTO
