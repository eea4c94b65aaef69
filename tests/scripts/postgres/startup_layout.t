# A parameter list without its end.
open
> raw i32:13 i32:196608 "user" x:00
fact client_violation invalid startup packet layout
R error FATAL 08P01
close EPROTO
