# Malformed: nothing of it reaches the target (bug 5).
ready open
> raw "B" i32:5 "a"
fact client_violation malformed Bind
R error FATAL 08P01
close EPROTO
