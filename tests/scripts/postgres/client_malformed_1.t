# Malformed: nothing of it reaches the target (bug 5).
ready open
> raw "Q" i32:6 "ab"
fact client_violation malformed Query
R error FATAL 08P01
close EPROTO
