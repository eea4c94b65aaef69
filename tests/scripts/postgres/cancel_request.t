# A CancelRequest is handed on and never answered; no TLS is needed. The connection is closed when its
# session knows: what is said after that cannot be hit.
open
> cancel 77 01020304
cancelrequest 01020304
! cancelled
close 0
