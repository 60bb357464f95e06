//! What a machine can do at best: small programs of our own, run by the bench on the two hosts.
//!
//! A bare copy and a bare round trip are the limits of the wire and the disk. The sealed copy is
//! the least that any encrypted, hashed and kept transfer can cost with the link's own primitives:
//! one thread on each side, no protocol, no buffer taken anew, each byte hashed at both ends,
//! sealed in records of the link's size, written, and synced as often as the link does.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use blake2::{Blake2s256, Digest};
use klatsch::dialect::link::noise::TAG;
use klatsch::model::limits::{LINK_CHUNK, LINK_SYNC};
use snow::params::CipherChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::Cipher;

/// Round trips timed.
pub const TURNS: usize = 200;
/// Records that each primitive is timed with, and how often: the best counts.
const RECORDS: u64 = 512;
const TRIES: usize = 8;
/// Where the one that takes listens, for each pair of programs.
const COPY: &str = "10.79.0.2:7000";
const ECHO: &str = "10.79.0.2:7001";

/// Runs one of them, with the file it gives or takes.
pub fn run(what: &str, file: &str) {
    let file = Path::new(file);
    match what {
        "take" => take(file),
        "give" => give(file),
        "open" => open(file),
        "seal" => seal(file),
        "echo" => echo(),
        "ping" => ping(),
        other => panic!("no such limit: {other}"),
    }
}

fn accept() -> TcpStream {
    let listener = TcpListener::bind(COPY).unwrap();
    println!("listens");
    listener.accept().unwrap().0
}

fn take(to: &Path) {
    let mut from = accept();
    let mut file = File::create(to).unwrap();
    let mut block = vec![0; 64 * 1024];
    loop {
        match from.read(&mut block).unwrap() {
            0 => break,
            n => file.write_all(&block[..n]).unwrap(),
        }
    }
    file.sync_all().unwrap();
    from.write_all(b"!").unwrap();
}

fn give(path: &Path) {
    let mut to = TcpStream::connect(COPY).unwrap();
    let mut file = File::open(path).unwrap();
    let mut block = vec![0; 64 * 1024];
    let begun = Instant::now();
    loop {
        match file.read(&mut block).unwrap() {
            0 => break,
            n => to.write_all(&block[..n]).unwrap(),
        }
    }
    to.shutdown(Shutdown::Write).unwrap();
    to.read_exact(&mut [0]).unwrap();
    println!("{}", begun.elapsed().as_nanos());
}

/// The cipher that the link's sessions use, with a key that both programs know.
fn cipher() -> Box<dyn Cipher> {
    let mut cipher = DefaultResolver.resolve_cipher(&CipherChoice::ChaChaPoly).unwrap();
    cipher.set(&[7; 32]);
    cipher
}

fn seal(path: &Path) {
    let mut to = TcpStream::connect(COPY).unwrap();
    let mut file = File::open(path).unwrap();
    let (cipher, mut sum) = (cipher(), Blake2s256::new());
    let (mut plain, mut record) = (vec![0; LINK_CHUNK], vec![0; 2 + LINK_CHUNK + TAG]);
    let begun = Instant::now();
    for n in 0.. {
        let len = file.read(&mut plain).unwrap();
        if len == 0 {
            break;
        }
        sum.update(&plain[..len]);
        let sealed = cipher.encrypt(n, &[], &plain[..len], &mut record[2..]);
        record[..2].copy_from_slice(&u16::try_from(sealed).unwrap().to_be_bytes());
        to.write_all(&record[..2 + sealed]).unwrap();
    }
    to.write_all(&[0, 0]).unwrap();
    to.write_all(&sum.finalize()).unwrap();
    to.read_exact(&mut [0]).unwrap();
    println!("{}", begun.elapsed().as_nanos());
}

fn open(to: &Path) {
    let mut from = accept();
    let mut file = File::create(to).unwrap();
    let (cipher, mut sum) = (cipher(), Blake2s256::new());
    let (mut plain, mut record) = (vec![0; LINK_CHUNK + TAG], vec![0; LINK_CHUNK + TAG]);
    let mut unsynced = 0;
    for n in 0.. {
        let mut head = [0; 2];
        from.read_exact(&mut head).unwrap();
        let len = usize::from(u16::from_be_bytes(head));
        if len == 0 {
            break;
        }
        from.read_exact(&mut record[..len]).unwrap();
        let len = cipher.decrypt(n, &[], &record[..len], &mut plain).unwrap();
        file.write_all(&plain[..len]).unwrap();
        sum.update(&plain[..len]);
        unsynced += len as u64;
        if unsynced >= LINK_SYNC {
            file.sync_data().unwrap();
            unsynced = 0;
        }
    }
    let mut theirs = [0; 32];
    from.read_exact(&mut theirs).unwrap();
    assert_eq!(sum.finalize()[..], theirs);
    file.sync_all().unwrap();
    from.write_all(b"!").unwrap();
}

/// How fast one processor hashes, seals and opens, in MiB a second.
pub fn primitives() -> [f64; 3] {
    let (cipher, mut sum) = (cipher(), Blake2s256::new());
    let (mut plain, mut record) = (vec![7; LINK_CHUNK + TAG], vec![0; LINK_CHUNK + TAG]);
    let rate = |mut once: Box<dyn FnMut(u64) + '_>| {
        let tries = (0..TRIES).map(|_| {
            let begun = Instant::now();
            (0..RECORDS).for_each(&mut once);
            begun.elapsed().as_secs_f64()
        });
        let bytes = RECORDS as f64 * LINK_CHUNK as f64;
        bytes / f64::from(1 << 20) / tries.fold(f64::MAX, f64::min)
    };
    let hashing = rate(Box::new(|_| sum.update(&plain[..LINK_CHUNK])));
    let sealing = rate(Box::new(|_| {
        cipher.encrypt(1, &[], &plain[..LINK_CHUNK], &mut record);
    }));
    let opening = rate(Box::new(|_| {
        cipher.decrypt(1, &[], &record, &mut plain).unwrap();
    }));
    assert_ne!(sum.finalize()[..], [0; 32]); // it was not left out
    [hashing, sealing, opening]
}

fn echo() {
    let socket = UdpSocket::bind(ECHO).unwrap();
    println!("listens");
    let mut block = [0; 64];
    while let Ok((n, from)) = socket.recv_from(&mut block) {
        socket.send_to(&block[..n], from).unwrap();
    }
}

fn ping() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(ECHO).unwrap();
    let mut all: Vec<Duration> = (0..TURNS)
        .map(|_| {
            let begun = Instant::now();
            socket.send(b"ping").unwrap();
            socket.recv(&mut [0; 64]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            begun.elapsed() - Duration::from_millis(2)
        })
        .collect();
    all.sort();
    println!("{}", all[TURNS / 2].as_nanos());
}
