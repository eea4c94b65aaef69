# libpq 17 and later cancel inside TLS as well; a key of 3.2 has 32 bytes.
open
> raw x:16
tls client direct
! tls client postgresql
> cancel 7 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
cancelrequest 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
! cancelled
close 0
