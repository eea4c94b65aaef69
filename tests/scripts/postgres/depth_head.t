# Results recorded by their first two rows: what is beyond passes, and is counted all the same.
ready pinned head:2
> Q 'select x; select y'
U Q 'select x; select y'
< desc c | row a | row b | row c | row d | C 'SELECT 4' | desc c | row a | N "SNOTICE" x:00 "C00000" x:00 "Mhi" x:00 x:00 | row b | row c | C 'SELECT 3' | Z "I"
R desc c | row a | row b | row c | row d | C 'SELECT 4' | desc c | row a | N "SNOTICE" x:00 "C00000" x:00 "Mhi" x:00 x:00 | row b | row c | C 'SELECT 3' | Z "I"
cmd query ok SELECT - rows=7 bytes=49 t=TDDDDCTDNDDCZ text=select x; select y
not recorded: 3 rows, 36 bytes
# A portal in parts: its rows are counted over all of them.
> P 's' 'select x' i16:0 | B 'p' 's' i16:0 i16:0 i16:0 | B 'q' 's' i16:0 i16:0 i16:0 | E 'p' i32:1 | E 'q' i32:1 | E 'p' i32:2 | H
U P 's' 'select x' i16:0 | B 'p' 's' i16:0 i16:0 i16:0 | B 'q' 's' i16:0 i16:0 i16:0 | E 'p' i32:1 | E 'q' i32:1 | E 'p' i32:2 | H
< 1 | 2 | 2 | row a | s | row a | s | row b | row c | s
R 1 | 2 | 2 | row a | s | row a | s | row b | row c | s
cmd execute ok SELECT - rows=1 bytes=7 t=122Ds text=select x
cmd execute ok SELECT - rows=1 bytes=7 t=Ds text=select x
cmd execute ok SELECT - rows=2 bytes=14 t=DDs text=select x
not recorded: 1 rows, 12 bytes
> E 'p' i32:0 | E 'q' i32:0 | B 'p' 's' i16:0 i16:0 i16:0 | E 'p' i32:1 | S
U E 'p' i32:0 | E 'q' i32:0 | B 'p' 's' i16:0 i16:0 i16:0 | E 'p' i32:1 | S
< row d | C 'SELECT 1' | row b | row c | C 'SELECT 2' | 2 | row a | s | Z "I"
R row d | C 'SELECT 1' | row b | row c | C 'SELECT 2' | 2 | row a | s | Z "I"
cmd execute ok SELECT - rows=1 bytes=7 t=DC text=select x
not recorded: 1 rows, 12 bytes
cmd execute ok SELECT - rows=2 bytes=14 t=DDC text=select x
not recorded: 1 rows, 12 bytes
cmd execute ok SELECT - rows=1 bytes=7 t=2Ds text=select x
# An error in the middle is kept; what the target skips after it is told as ever.
> P '' 'select y' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:3 | E '' i32:3 | S
U P '' 'select y' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:3 | E '' i32:3 | S
< 1 | 2 | row a | row b | row c | s | row d | error ERROR 22012 'no' | Z "I"
R 1 | 2 | row a | row b | row c | s | row d | error ERROR 22012 | Z "I"
cmd execute ok SELECT - rows=3 bytes=21 t=12DDDs text=select y
not recorded: 1 rows, 12 bytes
cmd execute failed SELECT 22012 rows=1 bytes=7 t=DE text=select y
not recorded: 1 rows, 12 bytes
idle yes
