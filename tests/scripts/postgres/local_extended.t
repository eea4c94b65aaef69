# The same by Parse: the target is sent a SELECT of the value, and all else stays as it was said.
ready pinned
> P 's' 'show hansard.session' i16:0 | D i8:83 's' | B '' 's' i16:0 i16:0 i16:1 i16:1 | E '' i32:0 | S
U P 's' "SELECT '00000000-0000-0000-0000-000000000000'::pg_catalog.text AS " x:22 "hansard.session" x:22 x:00 i16:0 | D i8:83 's' | B '' 's' i16:0 i16:0 i16:1 i16:1 | E '' i32:0 | S
< 1 | t i16:0 | desc c | 2 | row x | C 'SELECT 1' | Z "I"
R 1 | t i16:0 | desc c | 2 | row x | C 'SELECT 1' | Z "I"
cmd execute ok SHOW - rows=1 bytes=7 t=1tT2DC text=show hansard.session
# what is pipelined before it is sent first; the receipt is that of the Parse
> P '' 'select 1' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | P '' 'SHOW hansard.receipt;' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
U P '' 'select 1' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0
receipt
! receipt hsr1:0:3:ab:9
U P '' "SELECT 'hsr1:0:3:ab:9'::pg_catalog.text AS " x:22 "hansard.receipt" x:22 x:00 i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
< 1 | 2 | C 'SELECT 1' | 1 | 2 | row x | C 'SELECT 1' | Z "I"
R 1 | 2 | C 'SELECT 1' | 1 | 2 | row x | C 'SELECT 1' | Z "I"
cmd execute ok SELECT - rows=1 bytes=0 t=12C text=select 1
cmd execute ok SHOW - rows=1 bytes=7 t=12DC text=SHOW hansard.receipt;
idle yes
# a target that skips to the next Sync is not asked
> P '' 'bad' i16:0 | H
U P '' 'bad' i16:0 | H
< error ERROR 42601 'bad'
R error ERROR 42601
> P '' 'SHOW hansard.receipt' i16:0 | S
U P '' 'SHOW hansard.receipt' i16:0 | S
< Z "I"
R Z "I"
idle yes
