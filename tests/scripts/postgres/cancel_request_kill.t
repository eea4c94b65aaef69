# However a cancel ends, it is not answered.
open
> cancel 77 01020304
cancelrequest 01020304
! kill EDRAIN
close 0
