// lib/pq through database/sql.
package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/lib/pq"
	"hansard.example/test-clients/common"
)

var (
	ctx = context.Background()
	con *sql.Conn
)

func form(s *common.Step, rows *sql.Rows, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	common.Must(err)
	got := [][]*string{}
	for rows.Next() {
		values, places := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			places[i] = &values[i]
		}
		common.Must(rows.Scan(places...))
		row := []*string{}
		for i, v := range values {
			if raw, ok := v.([]byte); ok && s.Step == "types" && i != 6 { // numeric, uuid: as text
				v = string(raw)
			}
			row = append(row, common.Column(v))
		}
		got = append(got, row)
	}
	if rows.Err() != nil {
		return nil, rows.Err()
	}
	if len(names) == 0 {
		return nil, nil
	}
	return s.Form(got), nil
}

func ask(s *common.Step, text string, values ...any) (any, error) {
	rows, err := con.QueryContext(ctx, text, values...)
	return form(s, rows, err)
}

func outcome(got any, err error) any {
	var failure *pq.Error
	if errors.As(err, &failure) {
		return common.Error(string(failure.Code))
	}
	common.Must(err)
	return got
}

func copyIn(s *common.Step, rows func(*sql.Stmt) error) error {
	t, err := con.BeginTx(ctx, nil)
	common.Must(err)
	statement, err := t.Prepare(s.SQL)
	common.Must(err)
	err = rows(statement)
	if err == nil {
		_, err = statement.Exec()
	}
	if err != nil {
		_ = t.Rollback()
		return err
	}
	common.Must(statement.Close())
	return t.Commit()
}

func cancel(pool *sql.DB, s *common.Step) any {
	// The driver cancels when the context ends, and gives up the connection.
	con, err := pool.Conn(ctx)
	common.Must(err)
	defer con.Close()
	short, stop := context.WithTimeout(ctx, 500*time.Millisecond)
	defer stop()
	rows, err := con.QueryContext(short, s.SQL)
	return outcome(form(s, rows, err))
}

func main() {
	connector, err := pq.NewConnector("")
	common.Must(err)
	var notices []string
	heard := pq.ConnectorWithNoticeHandler(connector, func(n *pq.Error) { notices = append(notices, n.Message) })
	notified := make(chan *pq.Notification, 4)
	pool := sql.OpenDB(pq.ConnectorWithNotificationHandler(heard, func(n *pq.Notification) { notified <- n }))
	con, err = pool.Conn(ctx)
	common.Must(err)
	do := func(text string) { _, err := con.ExecContext(ctx, text); common.Must(err) }
	ops := map[string]common.Op{
		"query":  func(s *common.Step) any { return outcome(ask(s, s.SQL)) },
		"params": func(s *common.Step) any { return outcome(ask(s, s.SQL, s.Params()...)) },
		"prepared": func(s *common.Step) any {
			statement, err := con.PrepareContext(ctx, s.SQL)
			common.Must(err)
			defer statement.Close()
			got := []any{}
			for _, values := range s.Lists() {
				rows, err := statement.Query(values...)
				got = append(got, outcome(form(s, rows, err)))
			}
			return got
		},
		"sequence": func(s *common.Step) any {
			got := []any{}
			for _, text := range s.SQLs {
				got = append(got, outcome(ask(s, text)))
			}
			return got
		},
		"copy_in": func(s *common.Step) any {
			common.Must(copyIn(s, func(statement *sql.Stmt) error {
				for _, line := range strings.Split(strings.TrimSuffix(s.CopyLines(), "\n"), "\n") {
					a, b, _ := strings.Cut(line, "\t")
					if _, err := statement.Exec(a, b); err != nil {
						return err
					}
				}
				return nil
			}))
			return nil
		},
		"copy_fails": func(s *common.Step) any {
			return outcome(nil, copyIn(s, func(statement *sql.Stmt) error { _, err := statement.Exec("x", "y"); return err }))
		},
		"notice": func(s *common.Step) any {
			notices = []string{}
			do(s.SQL)
			return notices
		},
		"cancel": func(s *common.Step) any { return cancel(pool, s) },
		"transaction": func(s *common.Step) any {
			t, err := con.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
			common.Must(err)
			_, err = t.Exec(s.SQLs[0])
			common.Must(err)
			common.Must(t.Commit())
			t, err = con.BeginTx(ctx, nil)
			common.Must(err)
			_, err = t.Exec(s.SQLs[1])
			common.Must(err)
			common.Must(t.Rollback())
			return outcome(ask(s, s.SQLs[2]))
		},
		"batch": func(s *common.Step) any {
			for _, values := range s.Lists() {
				_, err := con.ExecContext(ctx, s.SQL, values...)
				common.Must(err)
			}
			return nil
		},
		"listen": func(s *common.Step) any {
			for _, text := range s.SQLs {
				do(text)
			}
			got := <-notified
			return []string{got.Channel, got.Extra}
		},
		"large_in": func(s *common.Step) any { return outcome(ask(s, s.SQL, strings.Repeat("y", common.Large))) },
	}
	common.Run(os.Args[1], ops, nil)
	common.Must(con.Close())
	common.Must(pool.Close())
}
