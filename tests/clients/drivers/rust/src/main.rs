// tokio-postgres: its own protocol, binary; what is asked without waiting goes out as a pipeline.
use std::{env, fs, future::poll_fn, time::Duration};

use futures_util::{future::join_all, SinkExt, StreamExt};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver};
use tokio_postgres::{types::ToSql, AsyncMessage, Client, Config, Error, NoTls, SimpleQueryMessage};

type Params = Vec<Box<dyn ToSql + Sync + Send>>;

fn large() -> usize {
    env::var("HSD_LARGE").ok().and_then(|v| v.parse().ok()).unwrap_or(1000)
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect()
}

fn failed(e: Error) -> Value {
    json!({"error": e.code().unwrap_or_else(|| panic!("{e}")).code()})
}

fn sql(step: &Value) -> String {
    step["sql"].as_str().unwrap().replace("{large}", &large().to_string())
}

fn params(list: &Value) -> Params {
    list.as_array().unwrap().iter().map(|v| -> Box<dyn ToSql + Sync + Send> {
        match v {
            Value::Number(n) => Box::new(n.as_i64().unwrap() as i32),
            Value::String(s) => Box::new(s.clone()),
            _ => Box::new(None::<String>),
        }
    }).collect()
}

fn form(step: &Value, rows: Vec<Vec<Option<String>>>) -> Value {
    if step["digest"] != json!(true) {
        return json!(rows);
    }
    let lines: Vec<String> = rows.iter().map(|r| r.iter().map(|c| c.clone().unwrap_or("\\N".into())).collect::<Vec<_>>().join("\t")).collect();
    json!([rows.len().to_string(), digest(&lines.join("\n"))])
}

/// The simple protocol: text.
async fn simple(con: &Client, step: &Value, sql: &str) -> Result<Value, Error> {
    let mut rows = vec![];
    let mut has_columns = false;
    for m in con.simple_query(sql).await? {
        match m {
            SimpleQueryMessage::Row(r) => rows.push((0..r.len()).map(|i| r.get(i).map(str::to_string)).collect()),
            SimpleQueryMessage::RowDescription(_) => has_columns = true,
            _ => {}
        }
    }
    Ok(if has_columns { form(step, rows) } else { Value::Null })
}

/// The extended protocol: all columns are text, in binary.
async fn extended(con: &Client, sql: &str, values: &Params) -> Result<Value, Error> {
    let refs: Vec<&(dyn ToSql + Sync)> = values.iter().map(|v| v.as_ref() as &(dyn ToSql + Sync)).collect();
    let rows = con.query(sql, &refs).await?;
    Ok(json!(rows.iter().map(|r| (0..r.len()).map(|i| r.get::<_, Option<String>>(i)).collect::<Vec<_>>()).collect::<Vec<_>>()))
}

async fn copy_in(con: &Client, sql: &str, text: String) -> Result<Value, Error> {
    let sink = con.copy_in(sql).await?;
    futures_util::pin_mut!(sink);
    sink.send(bytes::Bytes::from(text)).await?;
    sink.finish().await?;
    Ok(Value::Null)
}

async fn cancelled(con: &Client, step: &Value) -> Value {
    let cancel = con.cancel_token();
    let query = con.batch_execute(step["sql"].as_str().unwrap());
    futures_util::pin_mut!(query);
    loop {
        tokio::select! {
            r = &mut query => return r.map_or_else(failed, |()| Value::Null),
            () = tokio::time::sleep(Duration::from_millis(300)) => cancel.cancel_query(NoTls).await.unwrap_or(()),
        }
    }
}

async fn pipeline(con: &Client, step: &Value) -> Value {
    let statement = match con.prepare(&sql(step)).await {
        Ok(s) => s,
        Err(e) => return failed(e),
    };
    let lists: Vec<Params> = step["params"].as_array().unwrap().iter().map(params).collect();
    let all = join_all(lists.iter().map(|p| {
        let statement = statement.clone();
        async move {
            let refs: Vec<&(dyn ToSql + Sync)> = p.iter().map(|v| v.as_ref() as &(dyn ToSql + Sync)).collect();
            con.query_one(&statement, &refs).await.map(|r| r.get::<_, String>(0))
        }
    })).await;
    match all.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(texts) => json!(texts),
        Err(e) => failed(e),
    }
}

async fn cursor(con: &mut Client, step: &Value) -> Result<Value, Error> {
    let t = con.transaction().await?;
    let portal = t.bind(&sql(step), &[]).await?;
    let (mut n, mut sum) = (0, 0);
    loop {
        let some = t.query_portal(&portal, step["fetch"].as_i64().unwrap() as i32).await?;
        if some.is_empty() {
            break;
        }
        n += some.len();
        sum += some.iter().map(|r| r.get::<_, String>(0).parse::<i64>().unwrap()).sum::<i64>();
    }
    t.commit().await?;
    Ok(json!([n.to_string(), sum.to_string()]))
}

async fn transaction(con: &mut Client, step: &Value) -> Result<Value, Error> {
    let text = |i: usize| step["sql"][i].as_str().unwrap();
    let t = con.transaction().await?;
    t.execute(text(0), &[]).await?;
    t.commit().await?;
    let t = con.transaction().await?;
    t.execute(text(1), &[]).await?;
    t.rollback().await?;
    extended(con, text(2), &vec![]).await
}

async fn autosave(con: &mut Client, step: &Value) -> Result<Value, Error> {
    let text = |i: usize| step["sql"][i].as_str().unwrap();
    let mut t = con.transaction().await?;
    t.execute(text(0), &[]).await?;
    let inner = t.savepoint("hsd_s").await?;
    let _ = inner.execute(text(1), &[]).await;
    inner.rollback().await?;
    let row = t.query_one(text(2), &[]).await?;
    t.commit().await?;
    Ok(json!([[row.get::<_, String>(0)]]))
}

async fn lists(con: &Client, step: &Value) -> Result<Vec<Value>, Error> {
    let statement = sql(step);
    let mut got = vec![];
    for p in step["params"].as_array().unwrap() {
        got.push(extended(con, &statement, &params(p)).await?);
    }
    Ok(got)
}

async fn copy_out(con: &Client, step: &Value) -> Result<Value, Error> {
    let stream = con.copy_out(&sql(step)).await?;
    futures_util::pin_mut!(stream);
    let mut text = String::new();
    while let Some(part) = stream.next().await {
        text.push_str(std::str::from_utf8(&part?).unwrap());
    }
    Ok(json!([text.matches('\n').count().to_string(), digest(&text)]))
}

async fn sequence(con: &Client, step: &Value) -> Value {
    let mut got = vec![];
    for text in step["sql"].as_array().unwrap() {
        got.push(simple(con, step, text.as_str().unwrap()).await.unwrap_or_else(failed));
    }
    json!(got)
}

async fn listen(con: &Client, step: &Value, async_messages: &mut UnboundedReceiver<AsyncMessage>) -> Result<Value, Error> {
    for text in step["sql"].as_array().unwrap() {
        con.batch_execute(text.as_str().unwrap()).await?;
    }
    while let Some(m) = async_messages.recv().await {
        if let AsyncMessage::Notification(n) = m {
            return Ok(json!([n.channel(), n.payload()]));
        }
    }
    panic!("no notification");
}

async fn notice(con: &Client, step: &Value, async_messages: &mut UnboundedReceiver<AsyncMessage>) -> Result<Value, Error> {
    while async_messages.try_recv().is_ok() {}
    con.batch_execute(&sql(step)).await?;
    let mut got = vec![];
    while let Ok(AsyncMessage::Notice(n)) = async_messages.try_recv() {
        got.push(n.message().to_string());
    }
    Ok(json!(got))
}

async fn done(con: &mut Client, step: &Value, async_messages: &mut UnboundedReceiver<AsyncMessage>) -> Option<Value> {
    let got = match step["op"].as_str().unwrap() {
        "query" => simple(con, step, &sql(step)).await,
        "params" => extended(con, &sql(step), &params(&step["params"])).await,
        "prepared" => lists(con, step).await.map(|l| json!(l)),
        "batch" => lists(con, step).await.map(|_| Value::Null),
        "pipeline" => Ok(pipeline(con, step).await),
        "sequence" => Ok(sequence(con, step).await),
        "copy_in" => copy_in(con, &sql(step), (1..=step["rows"].as_i64().unwrap()).map(|i| format!("{i}\trow {i}\n")).collect()).await,
        "copy_fails" => copy_in(con, &sql(step), "x\ty\n".into()).await,
        "copy_out" => copy_out(con, step).await,
        "notice" => notice(con, step, async_messages).await,
        "cancel" => Ok(cancelled(con, step).await),
        "cursor" => cursor(con, step).await,
        "transaction" => transaction(con, step).await,
        "autosave" => autosave(con, step).await,
        "listen" => listen(con, step, async_messages).await,
        "large_in" => extended(con, &sql(step), &vec![Box::new("y".repeat(large()))]).await,
        _ => return None,
    };
    Some(got.unwrap_or_else(failed))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let var = |name: &str| env::var(name).unwrap();
    let mut config = Config::new();
    config.host(var("PGHOST")).port(var("PGPORT").parse().unwrap()).user(var("PGUSER")).password(var("PGPASSWORD")).dbname(var("PGDATABASE"));
    let (sender, mut async_messages) = unbounded_channel();
    let mut con = if var("PGSSLMODE") == "disable" {
        let (con, mut connection) = config.ssl_mode(tokio_postgres::config::SslMode::Disable).connect(NoTls).await.unwrap();
        tokio::spawn(async move { while let Some(Ok(m)) = poll_fn(|cx| connection.poll_message(cx)).await { let _ = sender.send(m); } });
        con
    } else {
        let ca = native_tls::Certificate::from_pem(&fs::read(var("PGSSLROOTCERT")).unwrap()).unwrap();
        let tls = native_tls::TlsConnector::builder().add_root_certificate(ca).build().unwrap();
        let tls = postgres_native_tls::MakeTlsConnector::new(tls);
        let (con, mut connection) = config.ssl_mode(tokio_postgres::config::SslMode::Require).connect(tls).await.unwrap();
        tokio::spawn(async move { while let Some(Ok(m)) = poll_fn(|cx| connection.poll_message(cx)).await { let _ = sender.send(m); } });
        con
    };
    let only = env::var("HSD_STEPS").unwrap_or_default();
    let steps: Value = serde_json::from_str(&fs::read_to_string(env::args().nth(1).unwrap()).unwrap()).unwrap();
    for step in steps.as_array().unwrap() {
        if !only.is_empty() && !only.split(',').any(|s| step["step"] == s) {
            continue;
        }
        if let Some(result) = done(&mut con, step, &mut async_messages).await {
            println!("{}", json!({"step": step["step"], "result": result}));
        }
    }
    drop(con);
    while async_messages.recv().await.is_some() {} // until the connection is closed
}
