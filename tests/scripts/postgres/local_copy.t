# While the target reads COPY data, a Query is its business.
ready pinned
> Q 'copy t from stdin' | Q 'SHOW hansard.session'
U Q 'copy t from stdin'
< G i8:0 i16:1 i16:0
R G i8:0 i16:1 i16:0
U Q 'SHOW hansard.session'
< error ERROR 08P01 'unexpected message type 0x51' | Z "I" | error ERROR 42704 'x' | Z "I"
R error ERROR 08P01 | Z "I" | error ERROR 42704 'x' | Z "I"
cmd query failed COPY 08P01 rows=0 bytes=0 t=GEZ text=copy t from stdin
cmd query failed SHOW 42704 rows=0 bytes=0 t=EZ text=SHOW hansard.session
idle yes
