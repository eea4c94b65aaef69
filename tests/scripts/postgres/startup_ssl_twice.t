# bug 32: no second answer.
open notls
> ssl
R raw "N"
> ssl
fact client_violation SSLRequest was sent twice
R error FATAL 08P01
close EPROTO
