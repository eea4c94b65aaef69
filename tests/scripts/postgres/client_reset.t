# bug 31: a client that breaks; later its reading end breaks as well.
ready pinned
> Q 'insert'
U Q 'insert'
! closed client EIO
closeside target
! closed client EIO
! closed target EIO
cmd query unknown INSERT - rows=0 bytes=0 t=- text=insert
close 0
