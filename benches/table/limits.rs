//! What a machine can do at best, and the crowds that others are measured with: small programs,
//! run by the bench on the other host.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Round trips and lines timed.
const TIMED: usize = 1_000;
/// Places of 4 KiB in what a [`Chain`] keeps.
const KEPT: usize = 256;

/// Runs one of them: `udp-echo`, `udp-ping` at an address; `chain-in`, `chain-out` at a
/// [`Chain::at`]; `irc-fan` at a server; `crowd` of `from-to` programs.
pub fn run(what: &str, at: &str) {
    match what {
        "udp-echo" => echo(at),
        "udp-ping" => ping(at),
        "chain-in" => chain_in(at),
        "chain-out" => chain_out(at),
        "irc-fan" => irc(at),
        "crowd" => crowd(at),
        other => panic!("no such limit: {other}"),
    }
}

fn echo(at: &str) {
    let socket = UdpSocket::bind(at).unwrap();
    let mut bytes = [0; 2048];
    loop {
        let (n, from) = socket.recv_from(&mut bytes).unwrap();
        socket.send_to(&bytes[..n], from).unwrap();
    }
}

fn ping(at: &str) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(at).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut bytes = [0; 2048];
    for _ in 0..TIMED {
        let begun = Instant::now();
        socket.send(b"MSG anna message of a usual length").unwrap();
        socket.recv(&mut bytes).unwrap();
        println!("{:.2}", begun.elapsed().as_secs_f64() * 1e6);
    }
}

/// The least that carries a line from a socket of one host to a socket of another: two programs of
/// one thread, a datagram between them.
pub struct Chain {
    pub path: PathBuf,
    pub udp: &'static str,
    /// Before it is passed on, 4 KiB are written here and made durable, where the file has room.
    pub kept: Option<PathBuf>,
}

impl Chain {
    /// As one word of a command line.
    pub fn at(&self) -> String {
        let kept = self.kept.as_deref().unwrap_or(Path::new("-"));
        format!("{},{},{}", self.path.display(), self.udp, kept.display())
    }
}

/// What of a chain's end each program needs: the client of its socket, the address, what keeps.
fn chain(at: &str) -> (UnixStream, &str, impl FnMut()) {
    let mut parts = at.split(',');
    let mut part = || parts.next().unwrap();
    let (path, udp, kept) = (part(), part(), part());
    let kept = (kept != "-").then(|| {
        let mut file = File::create(kept).unwrap();
        file.write_all(&vec![0; KEPT * 4096]).unwrap();
        file.sync_all().unwrap();
        file
    });
    let mut places = (0..KEPT as u64).cycle();
    let keep = move || {
        if let Some(file) = &kept {
            file.write_all_at(&[7; 4096], 4096 * places.next().unwrap()).unwrap();
            file.sync_data().unwrap();
        }
    };
    let (client, _) = UnixListener::bind(path).unwrap().accept().unwrap();
    (client, udp, keep)
}

fn chain_in(at: &str) {
    let (client, to, mut keep) = chain(at);
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    for line in BufReader::new(client).lines() {
        keep();
        socket.send_to(format!("{}\n", line.unwrap()).as_bytes(), to).unwrap();
    }
}

fn chain_out(at: &str) {
    let (mut client, from, mut keep) = chain(at);
    let socket = UdpSocket::bind(from).unwrap();
    client.write_all(b"ready\n").unwrap();
    let mut bytes = [0; 2048];
    loop {
        let (n, _) = socket.recv_from(&mut bytes).unwrap();
        keep();
        client.write_all(&bytes[..n]).unwrap();
    }
}

/// One who writes and so many who hear it: `30@10.78.0.1:6667`.
fn irc(at: &str) {
    let (ears, at) = at.split_once('@').unwrap();
    let mut all: Vec<BufReader<TcpStream>> = Vec::new();
    for n in 0..=ears.parse().unwrap() {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_nodelay(true).unwrap();
        write!(stream, "NICK u{n}\r\nUSER u{n} 0 * :u\r\nJOIN #c\r\n").unwrap();
        all.push(BufReader::new(stream));
    }
    for ear in &mut all {
        until(ear, " 366 ");
    }
    std::thread::sleep(Duration::from_secs(1));
    for n in 0..super::SELDOM {
        std::thread::sleep(super::PAUSE);
        let begun = Instant::now();
        write!(all[0].get_mut(), "PRIVMSG #c :line {n}.\r\n").unwrap();
        for ear in &mut all[1..] {
            until(ear, &format!(":line {n}."));
        }
        println!("{:.2}", begun.elapsed().as_secs_f64() * 1e6);
    }
}

fn until(ear: &mut BufReader<TcpStream>, wanted: &str) {
    let mut line = String::new();
    while !line.contains(wanted) {
        line.clear();
        assert!(ear.read_line(&mut line).unwrap() > 0, "ngircd closed the connection");
    }
}

/// JOINs of so many programs, each of an address of its own. They go at once; nothing tells the
/// daemon so before it asks them.
fn crowd(range: &str) {
    let (from, to) = range.split_once('-').unwrap();
    let all: Vec<u32> = (from.parse().unwrap()..to.parse().unwrap()).collect();
    let at = |n: u32| {
        let [_, _, high, low] = (n + 10).to_be_bytes();
        format!("10.78.{}.{low}", high + 1)
    };
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = ip.stdin.take().unwrap();
    for n in &all {
        writeln!(lines, "addr replace {}/32 dev eth0", at(*n)).unwrap();
    }
    drop(lines);
    assert!(ip.wait().unwrap().success());
    for n in all {
        let socket = UdpSocket::bind((at(n).as_str(), 0)).unwrap();
        let join = format!("JOIN person{n} 5010\n");
        // while the kernel has no room for one more neighbour, it says so
        while socket.send_to(join.as_bytes(), "10.78.0.1:4000").is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if n % 16 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
