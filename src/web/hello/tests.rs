//! The server over real sockets of this host, its node played by a task.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use async_executor::LocalExecutor;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};

use super::server::{HEAD_MS, MAX_HEAD, MAX_HEADERS};
use super::*;
use crate::model::{Refusal, SharedMessage};
use crate::reactor::{Async, Timer};

/// A server with the API of a node that has one message; it takes any text but "nein".
struct Bench {
    executor: Rc<LocalExecutor<'static>>,
    at: SocketAddr,
    sent: Rc<RefCell<Vec<String>>>,
}

impl Bench {
    fn new() -> Bench {
        let executor = Rc::new(LocalExecutor::new());
        let (hub, calls) = Hub::new(1);
        let sent = Rc::new(RefCell::new(Vec::new()));
        let kept = Rc::clone(&sent);
        executor
            .spawn(async move {
                let mut calls = Box::pin(calls);
                while let Some(call) = calls.next().await {
                    let answer = match call.command {
                        Command::Shared {} => Ok(Answer::Shared(vec![SharedMessage {
                            id: 1_795_228_572_194,
                            peer_id: "vanis<1>".into(),
                            text: "ahoj světe & \"víc\"".into(),
                        }])),
                        Command::Send { to, text } if to == ["#lobby"] && text != "nein" => {
                            kept.borrow_mut().push(text);
                            Ok(Answer::Sent(Vec::new()))
                        }
                        _ => Err(Refusal::Failed { reason: "nein".into() }),
                    };
                    let _ = call.reply.send(answer).await;
                }
            })
            .detach();
        let listener = server::listen(Some(Ipv4Addr::LOCALHOST.into()), 0, 0).unwrap();
        let at = listener.local_addr().unwrap();
        let serving = server::serve(listener, Rc::clone(&executor), Rc::new(Hello::new(hub)));
        executor.spawn(async move { panic!("{}", serving.await) }).detach();
        Bench { executor, at, sent }
    }

    fn run<T>(&self, act: impl Future<Output = T>) -> T {
        let late = async {
            Timer::after(Duration::from_secs(60)).await;
            panic!("it takes too long")
        };
        crate::reactor::block_on(self.executor.run(act.or(late)))
    }

    async fn stream(&self) -> Async<TcpStream> {
        Async::<TcpStream>::connect(self.at).await.unwrap()
    }

    /// What is answered to these bytes, to the end of the connection.
    async fn raw(&self, bytes: &[u8]) -> String {
        let stream = self.stream().await;
        (&stream).write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // a reset after an early answer is an end too
        let _ = (&stream).read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    /// Status line and body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (String, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n{body}"
        );
        let answer = self.run(self.raw(request.as_bytes()));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let line = head.lines().next().unwrap();
        (line.trim_start_matches("HTTP/1.1 ").to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.ask("GET", path, "", "")
    }
}

fn is(found: (String, String), status: &str, body: &str) {
    assert_eq!((found.0.as_str(), found.1.as_str()), (status, body));
}

/// captures/004-vanis-x2 and 004-kalash-x2, for the same requests.
#[test]
fn the_routes_answer_as_the_real_programs_do() {
    let bench = Bench::new();
    let history = r#"{"1795228572194":{"peer_id":"vanis<1>","message":"ahoj světe & \"víc\""}}"#;
    is(bench.get("/messages"), "200 OK", history);
    is(bench.get("/"), "200 OK", history);
    is(bench.get("/send?message=ahoj%20sv%C4%9Bte"), "200 OK", r#"{"status":"ok"}"#);
    let missing = r#"{"status":"error","message":"Message is missing"}"#;
    is(bench.get("/send"), "200 OK", missing);
    is(bench.get("/send?message="), "400 Bad Request", "Message is empty\n\n");
    is(bench.get("/nic"), "404 Not Found", "The requested resource not found /nic\n\n");
    is(bench.get("/send?message=nein"), "200 OK", r#"{"status":"error","message":"nein"}"#);
    assert_eq!(*bench.sent.borrow(), ["ahoj světe"]);
}

#[test]
fn a_browser_gets_a_page_whose_form_sends_and_where_text_stays_text() {
    let bench = Bench::new();
    let (status, page) = bench.ask("GET", "/", "Accept: text/html,*/*\r\n", "");
    assert_eq!(status, "200 OK");
    assert!(page.contains("vanis&lt;1&gt;") && page.contains("&amp; &quot;víc&quot;"), "{page}");
    let (status, _) = bench.ask("POST", "/send", "", "message=p%C5%99es+formul%C3%A1%C5%99");
    assert_eq!(status, "303 See Other");
    assert_eq!(*bench.sent.borrow(), ["přes formulář"]);
    let (status, _) = bench.ask("DELETE", "/messages", "", "");
    assert_eq!(status, "405 Method Not Allowed");
}

#[test]
fn what_another_sites_page_asks_is_refused() {
    let bench = Bench::new();
    for forged in
        ["Sec-Fetch-Site: cross-site\r\n", "Origin: http://evil.example\r\n", "Origin: null\r\n"]
    {
        let (status, _) = bench.ask("GET", "/send?message=x", forged, "");
        assert_eq!(status, "403 Forbidden", "{forged}");
    }
    let rebound = b"GET /messages HTTP/1.1\r\nHost: evil.example:8000\r\nConnection: close\r\n\r\n";
    let answer = bench.run(bench.raw(rebound));
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    for own in [
        "Sec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: none\r\n",
        "Origin: http://127.0.0.1:8000\r\n",
    ] {
        let (status, _) = bench.ask("GET", "/send?message=x", own, "");
        assert_eq!(status, "200 OK", "{own}");
    }
    for name in ["localhost:8000", "[::1]:8000", "klatsch-12ab.local", "box"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        assert!(bench.run(bench.raw(request.as_bytes())).contains("200 OK"), "{name}");
    }
    assert_eq!(bench.sent.borrow().len(), 3);
}

#[test]
fn heads_and_bodies_one_past_their_bounds_are_refused() {
    let bench = Bench::new();
    let long = format!("X: {}\r\n", "x".repeat(MAX_HEAD));
    let (status, _) = bench.ask("GET", "/messages", &long, "");
    assert!(status.starts_with("431 "), "{status}");
    let many = "X: x\r\n".repeat(MAX_HEADERS);
    let (status, _) = bench.ask("GET", "/messages", &many, "");
    assert!(status.starts_with("431 "), "{status}");
    let body = format!("message={}", "x".repeat(MAX_BODY - 8));
    assert_eq!(bench.ask("POST", "/send", "", &body).0, "303 See Other");
    let (status, _) = bench.ask("POST", "/send", "", &(body + "x"));
    assert_eq!(status, "413 Payload Too Large");
    let garbage = bench.run(bench.raw(b"\x16\x03\x01 no HTTP at all\r\n\r\n"));
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
}

#[test]
fn silent_connections_keep_nobody_out_and_end() {
    let bench = Bench::new();
    bench.run(async {
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS + MAX_PER_ADDRESS {
            silent.push(bench.stream().await);
        }
        let answer = bench.raw(b"GET /messages HTTP/1.0\r\n\r\n").await;
        assert!(answer.contains(" 200 OK"), "{answer}");
        let begun = std::time::Instant::now();
        for stream in silent {
            let _ = (&stream).read_to_end(&mut Vec::new()).await;
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(2 * HEAD_MS), "{took:?}");
    });
}

#[test]
fn a_kept_connection_answers_again() {
    let bench = Bench::new();
    bench.run(async {
        let two = "GET /messages HTTP/1.1\r\nHost: x\r\n\r\n\
                   GET /messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = bench.raw(two.as_bytes()).await;
        assert_eq!(answer.matches("200 OK").count(), 2);
    });
}
