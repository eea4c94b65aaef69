ready pinned
> Q 'select 1'
U Q 'select 1'
< raw "j"
fact target_violation unknown message type
R error FATAL 08P01 'protocol violation by the target'
cmd query unknown SELECT - rows=0 bytes=0 t=- text=select 1
close EUPSTREAM
