# The client does not wait.
open
> cancel 77 01020304
cancelrequest 01020304
! closed client
close 0
