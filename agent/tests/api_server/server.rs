//! A stand-in for the API server: as much of HTTP/1.1 and of lists, watches and writes as the agent uses. It replays what a test gives it,
//! in the forms of "Kubernetes API Concepts"; it is written by hand, and nothing of it was recorded from a cluster.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What is answered to a list.
#[derive(Debug, Clone)]
pub(crate) enum List {
    /// These objects, at this version.
    Of(Vec<Value>, u64),
    /// A status.
    Status(u16),
    /// Half an answer, and the connection is gone.
    Cut,
}

/// What happens in a watch, one after the other; at its end it stays open.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// An event of a type and an object.
    Event(&'static str, Value),
    /// A bookmark at a version.
    Bookmark(u64),
    /// The version is too old.
    Gone,
    /// Bytes as they are.
    Raw(String),
    /// The connection is cut.
    Cut,
    /// The watch ends as they do after some minutes.
    End,
}

/// What is replayed for one kind of object: lists and watches, each once, the last list again and again.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) lists: VecDeque<List>,
    pub(crate) watches: VecDeque<Vec<Step>>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

#[derive(Debug, Default)]
struct Shared {
    scripts: BTreeMap<&'static str, Script>,
    seen: Vec<Seen>,
    /// Statuses of the next writes.
    writes: VecDeque<u16>,
    date: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Server {
    shared: Arc<Mutex<Shared>>,
    port: u16,
}

impl Server {
    pub(crate) async fn start(policies: Script, waivers: Script, maps: Script) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scripts =
            BTreeMap::from([("policies", policies), ("waivers", waivers), ("configmaps", maps)]);
        let shared = Shared {
            scripts,
            date: "Mon, 23 Nov 2026 07:00:00 GMT".to_owned(),
            ..Shared::default()
        };
        let server = Server { shared: Arc::new(Mutex::new(shared)), port };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                // A connection that ends as it will is part of the play.
                tokio::spawn(async move { drop(server.serve(stream).await) });
            }
        });
        server
    }

    pub(crate) fn client(&self) -> kube::Client {
        let uri = format!("http://127.0.0.1:{}", self.port).parse().unwrap();
        kube::Client::try_from(kube::Config::new(uri)).unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().unwrap().seen.clone()
    }

    pub(crate) fn fail_writes(&self, statuses: &[u16]) {
        self.shared.lock().unwrap().writes.extend(statuses);
    }

    /// More of a watch, for the next one that is asked for.
    pub(crate) fn next_watch(&self, resource: &'static str, steps: Vec<Step>) {
        self.shared.lock().unwrap().scripts.get_mut(resource).unwrap().watches.push_back(steps);
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = String::new();
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
            let mut length = 0;
            loop {
                let mut header = String::new();
                stream.read_line(&mut header).await?;
                if header.trim().is_empty() {
                    break;
                }
                if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            let mut words = head.split_whitespace();
            let method = words.next().unwrap().to_owned();
            let path = words.next().unwrap().to_owned();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            self.shared.lock().unwrap().seen.push(Seen {
                method: method.clone(),
                path: path.clone(),
                body,
            });
            if !self.answer(stream.get_mut(), &method, &path).await? {
                return Ok(());
            }
        }
    }

    /// Answers; whether the connection goes on.
    async fn answer(
        &self,
        stream: &mut TcpStream,
        method: &str,
        path: &str,
    ) -> std::io::Result<bool> {
        if method != "GET" {
            let status = self.shared.lock().unwrap().writes.pop_front().unwrap_or(200);
            let body = if status < 300 {
                json!({"kind": "NodeReport", "metadata": {"name": "n"}})
            } else {
                status_of(status)
            };
            return self.whole(stream, status, &body.to_string()).await;
        }
        let place = path.split('?').next().unwrap();
        let resource = ["policies", "waivers", "configmaps"]
            .into_iter()
            .find(|name| place.ends_with(&format!("/{name}")));
        let Some(resource) = resource else {
            return self.whole(stream, 200, &json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-1", "uid": "u-1"}}).to_string()).await;
        };
        if path.contains("watch=true") {
            return self.watch(stream, resource).await;
        }
        let list = {
            let mut shared = self.shared.lock().unwrap();
            let lists = &mut shared.scripts.get_mut(resource).unwrap().lists;
            if lists.len() > 1 {
                lists.pop_front().unwrap()
            } else {
                lists.front().cloned().unwrap_or(List::Of(Vec::new(), 1))
            }
        };
        match list {
            List::Of(items, version) => {
                let kind = match resource {
                    "policies" => "PolicyList",
                    "waivers" => "WaiverList",
                    _ => "ConfigMapList",
                };
                let body = json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}, "items": items});
                self.whole(stream, 200, &body.to_string()).await
            }
            List::Status(status) => {
                self.whole(stream, status, &status_of(status).to_string()).await
            }
            List::Cut => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"kind\"").await?;
                Ok(false)
            }
        }
    }

    async fn watch(&self, stream: &mut TcpStream, resource: &str) -> std::io::Result<bool> {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        let steps = self
            .shared
            .lock()
            .unwrap()
            .scripts
            .get_mut(resource)
            .unwrap()
            .watches
            .pop_front()
            .unwrap_or_default();
        for step in steps {
            let line = match step {
                Step::Event(kind, object) => json!({"type": kind, "object": object}).to_string(),
                Step::Bookmark(version) => {
                    let object = json!({"kind": "Policy", "apiVersion": "coaming.dev/v1alpha1", "metadata": {"resourceVersion": version.to_string()}});
                    json!({"type": "BOOKMARK", "object": object}).to_string()
                }
                Step::Gone => json!({"type": "ERROR", "object": status_of(410)}).to_string(),
                Step::Raw(text) => text,
                Step::Cut => return Ok(false),
                Step::End => {
                    stream.write_all(b"0\r\n\r\n").await?;
                    return Ok(true);
                }
            };
            let line = format!("{line}\n");
            stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
            stream.flush().await?;
        }
        // Open until the agent goes.
        let mut end = [0; 1];
        let _ = stream.read(&mut end).await?;
        Ok(false)
    }

    async fn whole(
        &self,
        stream: &mut TcpStream,
        status: u16,
        body: &str,
    ) -> std::io::Result<bool> {
        let date = self.shared.lock().unwrap().date.clone();
        let head = format!(
            "HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        Ok(true)
    }
}

fn status_of(code: u16) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        410 => "Expired",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": format!("as the test says: {reason}"),
        "reason": reason, "code": code})
}
