# Malformed: nothing of it reaches the target (bug 5).
ready open
> raw "Q" i32:3
fact client_violation invalid message length
R error FATAL 08P01
close EPROTO
