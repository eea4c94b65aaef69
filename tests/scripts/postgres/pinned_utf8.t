# Invalid UTF-8 is not sent; what stood before it in the same read is.
ready pinned
> Q 'select 1' | raw "Q" i32:8 "a" x:ff "b" x:00
U Q 'select 1'
R error FATAL 22021
cmd query unknown SELECT - rows=0 bytes=0 t=- text=select 1
close EENCODING
