# A 3.2 key.
open
> cancel 77 0102030405060708
cancelrequest 0102030405060708
! cancelled
close 0
