ready open
< raw "Z" i32:3
fact target_violation invalid message length
R error FATAL 08P01
close EUPSTREAM
