// pgx: its own protocol, binary, prepared statements and pipelines.
package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"hansard.example/test-clients/common"
)

var (
	ctx     = context.Background()
	con     *pgx.Conn
	notices []string
)

func ask(s *common.Step, sql string, values ...any) (any, error) {
	rows, err := con.Query(ctx, sql, values...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	got := [][]*string{}
	for rows.Next() {
		row := make([]*string, 0)
		values, err := rows.Values()
		common.Must(err)
		for i, v := range values {
			if s.Step == "types" { // what arrived: binary
				v = rows.RawValues()[i]
			}
			row = append(row, common.Column(v))
		}
		got = append(got, row)
	}
	if rows.Err() != nil {
		return nil, rows.Err()
	}
	if len(rows.FieldDescriptions()) == 0 {
		return nil, nil
	}
	return s.Form(got), nil
}

func outcome(got any, err error) any {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return common.Error(failure.Code)
	}
	common.Must(err)
	return got
}

func pipeline(s *common.Step) any {
	batch := &pgx.Batch{}
	for _, values := range s.Lists() {
		batch.Queue(s.SQL, values...)
	}
	results := con.SendBatch(ctx, batch)
	defer results.Close()
	got := []string{}
	for range s.Lists() {
		var text string
		if err := results.QueryRow().Scan(&text); err != nil {
			return outcome(nil, err)
		}
		got = append(got, text)
	}
	return got
}

func cursor(s *common.Step) any {
	t, err := con.Begin(ctx)
	common.Must(err)
	_, err = t.Exec(ctx, "declare hsd_c cursor for "+s.SQL)
	common.Must(err)
	got := []string{}
	for {
		rows, err := t.Query(ctx, "fetch 100 from hsd_c")
		common.Must(err)
		some, err := pgx.CollectRows(rows, pgx.RowTo[string])
		common.Must(err)
		if len(some) == 0 {
			break
		}
		got = append(got, some...)
	}
	common.Must(t.Commit(ctx))
	return common.Totals(got)
}

func autosave(s *common.Step) any {
	t, err := con.Begin(ctx)
	common.Must(err)
	_, err = t.Exec(ctx, s.SQLs[0])
	common.Must(err)
	inner, err := t.Begin(ctx)
	common.Must(err)
	_, err = inner.Exec(ctx, s.SQLs[1])
	if err != nil {
		common.Must(inner.Rollback(ctx))
	}
	got := outcome(ask(s, s.SQLs[2]))
	common.Must(t.Commit(ctx))
	return got
}

func listen(s *common.Step) any {
	for _, sql := range s.SQLs {
		_, err := con.Exec(ctx, sql)
		common.Must(err)
	}
	got, err := con.WaitForNotification(ctx)
	common.Must(err)
	return []string{got.Channel, got.Payload}
}

func main() {
	config, err := pgx.ParseConfig("")
	common.Must(err)
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n.Message) }
	con, err = pgx.ConnectConfig(ctx, config)
	common.Must(err)
	copyIn := func(s *common.Step, text string) (any, error) {
		_, err := con.PgConn().CopyFrom(ctx, strings.NewReader(text), s.SQL)
		return nil, err
	}
	ops := map[string]common.Op{
		"query":  func(s *common.Step) any { return outcome(ask(s, s.SQL)) },
		"params": func(s *common.Step) any { return outcome(ask(s, s.SQL, s.Params()...)) },
		"prepared": func(s *common.Step) any {
			_, err := con.Prepare(ctx, "hsd_p", s.SQL)
			common.Must(err)
			got := []any{}
			for _, values := range s.Lists() {
				got = append(got, outcome(ask(s, "hsd_p", values...)))
			}
			return got
		},
		"pipeline": pipeline,
		"sequence": func(s *common.Step) any {
			got := []any{}
			for _, sql := range s.SQLs {
				got = append(got, outcome(ask(s, sql)))
			}
			return got
		},
		"copy_in":    func(s *common.Step) any { return outcome(copyIn(s, s.CopyLines())) },
		"copy_fails": func(s *common.Step) any { return outcome(copyIn(s, "x\ty\n")) },
		"copy_out": func(s *common.Step) any {
			var out bytes.Buffer
			tag, err := con.PgConn().CopyTo(ctx, &out, s.SQL)
			common.Must(err)
			return []string{strings.TrimPrefix(tag.String(), "COPY "), common.Digest(out.String())}
		},
		"notice": func(s *common.Step) any {
			notices = []string{}
			_, err := con.Exec(ctx, s.SQL)
			common.Must(err)
			return notices
		},
		"cancel": func(s *common.Step) any {
			over := make(chan bool)
			go func() {
				for {
					select {
					case <-over:
						return
					case <-time.After(300 * time.Millisecond):
						_ = con.PgConn().CancelRequest(ctx)
					}
				}
			}()
			got := outcome(ask(s, s.SQL))
			over <- true
			return got
		},
		"cursor": cursor,
		"transaction": func(s *common.Step) any {
			common.Must(pgx.BeginFunc(ctx, con, func(t pgx.Tx) error { _, err := t.Exec(ctx, s.SQLs[0]); return err }))
			_ = pgx.BeginFunc(ctx, con, func(t pgx.Tx) error { _, err := t.Exec(ctx, s.SQLs[1]); common.Must(err); return errors.New("back") })
			return outcome(ask(s, s.SQLs[2]))
		},
		"autosave": autosave,
		"batch": func(s *common.Step) any {
			batch := &pgx.Batch{}
			for _, values := range s.Lists() {
				batch.Queue(s.SQL, values...)
			}
			common.Must(con.SendBatch(ctx, batch).Close())
			return nil
		},
		"listen":   listen,
		"large_in": func(s *common.Step) any { return outcome(ask(s, s.SQL, strings.Repeat("y", common.Large))) },
	}
	common.Run(os.Args[1], ops, nil)
	common.Must(con.Close(ctx))
}
