# SHOW hansard.session and hansard.receipt in the simple protocol: answered here, between two answers.
ready pinned
> Q 'SHOW hansard.session'
R T i16:1 'hansard.session' i32:0 i16:0 i32:25 i16:-1 i32:-1 i16:0 | row 00000000-0000-0000-0000-000000000000 | C 'SHOW' | Z "I"
cmd query ok SHOW - rows=0 bytes=0 t=- text=SHOW hansard.session
idle yes
> Q 'show /* mine */ "hansard" . Session ; -- now' | Q 'select 1'
R T i16:1 'hansard.session' i32:0 i16:0 i32:25 i16:-1 i32:-1 i16:0 | row 00000000-0000-0000-0000-000000000000 | C 'SHOW' | Z "I"
U Q 'select 1'
cmd query ok SHOW - rows=0 bytes=0 t=- text=show /* mine */ "hansard" . Session ; -- now
< C 'SELECT 1' | Z "I"
R C 'SELECT 1' | Z "I"
cmd query ok SELECT - rows=1 bytes=0 t=CZ text=select 1
# a receipt comes when the record is durable so far; what is said behind it waits
> Q 'show hansard.receipt' | Q 'begin'
receipt
! receipt hsr1:0:3:ab:9
R T i16:1 'hansard.receipt' i32:0 i16:0 i32:25 i16:-1 i32:-1 i16:0 | row hsr1:0:3:ab:9 | C 'SHOW' | Z "I"
U Q 'begin'
cmd query ok SHOW - rows=0 bytes=0 t=- text=show hansard.receipt
< C 'BEGIN' | Z "T"
R C 'BEGIN' | Z "T"
cmd query ok BEGIN - rows=0 bytes=0 t=CZ text=begin
# in a transaction, with an answer in flight: behind it, with its state
> Q 'insert' | Q 'SHOW hansard.receipt'
U Q 'insert'
< C 'INSERT 0 1' | Z "T"
R C 'INSERT 0 1' | Z "T"
cmd query ok INSERT - rows=1 bytes=0 t=CZ text=insert
receipt
! receipt hsr1:0:4:cd:9
R T i16:1 'hansard.receipt' i32:0 i16:0 i32:25 i16:-1 i32:-1 i16:0 | row hsr1:0:4:cd:9 | C 'SHOW' | Z "T"
cmd query ok SHOW - rows=0 bytes=0 t=- text=SHOW hansard.receipt
idle no
# none can be given
> Q 'SHOW hansard.receipt'
receipt
! receipt
R T i16:1 'hansard.receipt' i32:0 i16:0 i32:25 i16:-1 i32:-1 i16:0 | row NULL | C 'SHOW' | Z "T"
cmd query ok SHOW - rows=0 bytes=0 t=- text=SHOW hansard.receipt
# a failed transaction is the target's to answer for
> Q 'bad' | Q 'SHOW hansard.session'
U Q 'bad'
< error ERROR 42601 'bad' | Z "E"
R error ERROR 42601 | Z "E"
U Q 'SHOW hansard.session'
cmd query failed BAD 42601 rows=0 bytes=0 t=EZ text=bad
< error ERROR 25P02 'aborted' | Z "E"
R error ERROR 25P02 | Z "E"
cmd query failed SHOW 25P02 rows=0 bytes=0 t=EZ text=SHOW hansard.session
# not alone, or another setting: the target's, too
> Q 'rollback' | Q 'SHOW hansard.session; select 1' | Q 'show hansard.run_id'
U Q 'rollback' | Q 'SHOW hansard.session; select 1' | Q 'show hansard.run_id'
< C 'ROLLBACK' | Z "I" | error ERROR 42704 'x' | Z "I" | error ERROR 42704 'x' | Z "I"
R C 'ROLLBACK' | Z "I" | error ERROR 42704 'x' | Z "I" | error ERROR 42704 'x' | Z "I"
cmd query ok ROLLBACK - rows=0 bytes=0 t=CZ text=rollback
cmd query failed SHOW 42704 rows=0 bytes=0 t=EZ text=SHOW hansard.session; select 1
cmd query failed SHOW 42704 rows=0 bytes=0 t=EZ text=show hansard.run_id
idle yes
