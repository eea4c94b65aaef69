# A CancelRequest is handed on and never answered; no TLS is needed.
open
> cancel 77 01020304
cancelrequest 01020304
close 0
