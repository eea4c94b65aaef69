# What a client says about itself goes on the record as claimed, and to the target as it was said.
ready pinned
> Q "SET hansard.reason = 'it''s late'; set session hansard.Task to 7" x:00 | Q "select set_config('hansard.run_id', 'r-1', true), 2" x:00
fact claim.reason it's late
fact claim.task 7
fact claim.run_id r-1
U Q "SET hansard.reason = 'it''s late'; set session hansard.Task to 7" x:00 | Q "select set_config('hansard.run_id', 'r-1', true), 2" x:00
< C 'SET' | C 'SET' | Z "I" | C 'SELECT 1' | Z "I"
R C 'SET' | C 'SET' | Z "I" | C 'SELECT 1' | Z "I"
cmd query ok SET - rows=0 bytes=0 t=CCZ text=SET hansard.reason = 'it''s late'; set session hansard.Task to 7
cmd query ok SELECT - rows=1 bytes=0 t=CZ text=select set_config('hansard.run_id', 'r-1', true), 2
# taken back; not told: a parameter, a list, a reserved name, a strange one, other settings
> P '' 'reset hansard.reason' i16:0 | P '' "select set_config('hansard.a', $1, false)" x:00 i16:0 | P '' 'set hansard.b = 1, 2' i16:0 | P '' 'set hansard.session = 1' i16:0 | P '' 'set hansard."a-b" = 1' i16:0 | P '' 'set other.c = 1' i16:0
fact claim.reason
U P '' 'reset hansard.reason' i16:0 | P '' "select set_config('hansard.a', $1, false)" x:00 i16:0 | P '' 'set hansard.b = 1, 2' i16:0 | P '' 'set hansard.session = 1' i16:0 | P '' 'set hansard."a-b" = 1' i16:0 | P '' 'set other.c = 1' i16:0
< 1 | 1 | 1 | 1 | 1 | 1
R 1 | 1 | 1 | 1 | 1 | 1
