#!/usr/bin/env bash
# make quickstart: a real PostgreSQL, Hansard in front of it, an agent's session on the record, the
# proof, an attempt to cheat, and then a gateway to play with until Ctrl-C (ONCE=1: stop instead).
set -euo pipefail
cd "$(dirname "$0")/.."

hansard=$PWD/build/hansard
verifier=$PWD/tests/verifier/hansard_verify.py
python=/usr/bin/python3
pgbin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | head -n 1)

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

dir=$(mktemp -d /tmp/hansard-quickstart.XXXXXX)
chmod 755 "$dir"
server_user=()
if [ "$(id -u)" = 0 ]; then
	chown postgres: "$dir"
	server_user=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
fi
serve_pid=
finish() {
	trap - EXIT INT TERM
	if [ -n "$serve_pid" ]; then
		kill "$serve_pid" 2>/dev/null && wait "$serve_pid" 2>/dev/null || true
	fi
	[ -d "$dir/pg" ] && "${server_user[@]}" "$pgbin/pg_ctl" -D "$dir/pg" -m fast -w stop >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
pg_port=$(free_port)
port=$(free_port)

say "1. A PostgreSQL of its own, with a password that no client will see"
# Secrets are never readable by others, not even between their making and a chmod.
(umask 077 && head -c 18 /dev/urandom | base64 | tr -d '\n' >"$dir/shop.password" && cp "$dir/shop.password" "$dir/initdb.password")
if [ "$(id -u)" = 0 ]; then chown postgres: "$dir/initdb.password"; fi
(cd / && "${server_user[@]}" "$pgbin/initdb" -D "$dir/pg" -U postgres -A scram-sha-256 --pwfile="$dir/initdb.password" -N) >"$dir/initdb.log" 2>&1 ||
	{ cat "$dir/initdb.log"; exit 1; }
rm -f "$dir/initdb.password"
printf "port = %s\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\n" "$pg_port" "$dir" >>"$dir/pg/postgresql.conf"
(cd / && "${server_user[@]}" "$pgbin/pg_ctl" -D "$dir/pg" -l "$dir/pg.log" -w start >/dev/null)
direct() { PGPASSWORD=$(cat "$dir/shop.password") psql -h 127.0.0.1 -p "$pg_port" -U postgres -XAtq "$@"; }
# The password travels by a variable and a pipe, never on a command line.
printf "create role app login password '%s';\ncreate database shop owner app;\n" "$(cat "$dir/shop.password")" | direct -d postgres -f -
direct -d shop -c "create table orders(id int primary key, item text, qty int); alter table orders owner to app;
	insert into orders values (1, 'violin', 2), (2, 'oboe', 5), (3, 'harp', 1)"
echo "PostgreSQL $("$pgbin/postgres" -V | awk '{print $3}') on 127.0.0.1:$pg_port"

say "2. Hansard in front of it"
cat >"$dir/hansard.yaml" <<YAML
apiVersion: hansard/v1
kind: Gateway
spec:
  store: { path: ./data }
  listen: { postgres: "127.0.0.1:$port" }
  identity: { local: {} }
---
apiVersion: hansard/v1
kind: Connection
metadata: { name: shop, labels: { env: quickstart } }
spec:
  protocol: postgres
  address: 127.0.0.1:$pg_port
  databases: { default: shop, allow: [shop] }
  tls: { mode: disable }
  roles:
    default: { user: app, password: { file: shop.password } }
  access: [ { groups: [agents], roles: [default] } ]
  record: { durable: before-forward, results: full }
  hygiene: pinned
YAML
export HANSARD_CONFIG=$dir/hansard.yaml
show "$hansard" check
"$hansard" serve --log json 2>"$dir/hansard.log" &
serve_pid=$!
wait_ready() {
	for _ in $(seq 600); do
		grep -q '"event":"[a-z.]*ready"' "$dir/hansard.log" && return 0
		kill -0 "$serve_pid" 2>/dev/null || break
		sleep 0.05
	done
	echo "the gateway did not start:" && cat "$dir/hansard.log" && exit 1
}
wait_ready
grep '"event":"[a-z.]*ready"' "$dir/hansard.log" | tail -n 1

say "3. An agent with a short-lived token as its password, in stock psql"
(umask 077 && : >"$dir/token")
show "$hansard" token --subject demo-agent --kind agent --group agents --on-behalf-of mara@example.com --run run-1 --context task=quickstart --ttl 1h >"$dir/token"
conninfo="host=127.0.0.1 port=$port user=shop dbname=shop sslmode=verify-full sslrootcert=$dir/data/ca.pem"
agent() { PGPASSWORD=$(tail -n 1 "$dir/token") psql "$conninfo" -X "$@"; }
printf '\033[2m$ psql "%s"\033[0m\n' "$conninfo"
agent -e -c "select * from orders order by id" -c "update orders set qty = qty - 1 where item = 'oboe' returning *"

say "4. What stands in the record"
show "$hansard" sessions
show "$hansard" play @last
# A head is signed each second; wait for the one that covers the session.
signed() { "$hansard" verify @last 2>/dev/null | grep -q 'all signed'; }
for _ in $(seq 100); do signed && break; sleep 0.1; done
show "$hansard" verify @last
vkey=$(sed -n 's/.*"vkey": *"\([^"]*\)".*/\1/p' "$dir/data/record/node.json")
echo "(the gateway's public key, to be kept elsewhere: $vkey)"
show "$hansard" verify --vkey "$vkey"
say "5. The same, by a verifier that shares no code with Hansard"
show "$python" "$verifier" "$dir/data" --vkey "$vkey"

say "6. Trying to cheat: one byte flipped in a copy of the store"
cp -a --sparse=always "$dir/data" "$dir/copy"
part=$(find "$dir/copy/record/sessions" -name '*.rec' -size +0 | sort | tail -n 1)
"$python" - "$part" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(300)
    byte = f.read(1)[0]
    f.seek(300)
    f.write(bytes([byte ^ 1]))
print(f"flipped bit 0 of byte 300 of {sys.argv[1].rsplit('/', 1)[1]}")
PY
for try in "$hansard verify --store $dir/copy --vkey $vkey" "$python $verifier $dir/copy --vkey $vkey"; do
	printf '\033[2m$ %s\033[0m\n' "$try"
	rc=0
	$try || rc=$?
	[ "$rc" = 4 ] || { echo "expected exit code 4 (tampered), got $rc"; exit 1; }
	echo "(exit code 4: tampered)"
done
rm -rf "$dir/copy"

say "7. The recorder killed in the middle of an INSERT"
before=$(direct -d shop -c "select count(*) from orders")
# A session that is open before the recorder stands still, so that the INSERT is all that waits.
mkfifo "$dir/statements"
agent -Atq <"$dir/statements" >"$dir/insert.out" 2>&1 &
insert_pid=$!
exec 7>"$dir/statements"
echo "select 'the session is open';" >&7
for _ in $(seq 200); do grep -q open "$dir/insert.out" && break; sleep 0.05; done
recorder=$(pgrep -P "$serve_pid" -f -- '--child recorder')
mark=$(wc -l <"$dir/hansard.log")
kill -STOP "$recorder"
echo "insert into orders values (4, 'gong', 1);" >&7
sleep 0.3 # time in which it would have arrived, if anything let it through
kill -KILL "$recorder"
exec 7>&-
wait "$insert_pid" || true
sed 's/^/  psql: /' "$dir/insert.out"
after=$(direct -d shop -c "select count(*) from orders")
echo "rows before: $before, after: $after"
[ "$before" = "$after" ] || { echo "the server received what was not recorded"; exit 1; }
for _ in $(seq 200); do
	agent -Atq -c "select 1" >/dev/null 2>&1 && break
	sleep 0.05
done
agent -Atq -c "select 'recording again, without a restart'"
tail -n "+$((mark + 1))" "$dir/hansard.log" | grep -i recorder | head -n 3 || true
show "$hansard" verify --vkey "$vkey"

say "Done."
[ "${ONCE:-0}" = 1 ] && exit 0
cat <<TXT
The gateway keeps running; Ctrl-C stops it and removes $dir. Try, in another terminal:

  export HANSARD_CONFIG=$dir/hansard.yaml
  PGPASSWORD=\$(cat $dir/token) psql "$conninfo"
  $hansard sessions && $hansard play @last

There is no web console yet: hansard(1) reads the record in a terminal.
TXT
wait "$serve_pid"
