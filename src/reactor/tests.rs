use std::future::poll_fn;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use futures_lite::future::{or, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn pair() -> (Async<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Async::new(ours).unwrap(), theirs)
}

fn watched() -> usize {
    REACTOR.with(|reactor| reactor.sources.borrow().len())
}

fn timers() -> usize {
    REACTOR.with(|reactor| usize::from(reactor.timers.borrow().first().is_some()))
}

/// Ends when nothing came in so long.
async fn silence<T>(waits: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(Duration::from_millis(50)).await;
        None
    };
    or(async { Some(waits.await) }, late).await
}

#[test]
fn a_timer_ends_at_its_time_and_those_before_it_first() {
    let begun = Instant::now();
    let order = RefCell::new(Vec::new());
    let note = |ms: u64| {
        let order = &order;
        async move {
            Timer::after(Duration::from_millis(ms)).await;
            order.borrow_mut().push(ms);
        }
    };
    block_on(zip(note(60), zip(note(20), note(40))));
    assert_eq!(*order.borrow(), [20, 40, 60]);
    assert!(begun.elapsed() >= Duration::from_millis(60));
    block_on(Timer::at(begun)); // long ago
    assert_eq!(block_on(silence(Timer::never())), None);
    assert_eq!(block_on(silence(Timer::after(Duration::MAX))), None);
}

#[test]
fn a_timer_ends_once() {
    let mut timer = Timer::after(Duration::from_millis(1));
    block_on(&mut timer);
    assert_eq!(block_on(silence(&mut timer)), None);
    assert_eq!(timers(), 0);
}

#[test]
fn one_block_on_within_another_takes_no_wake_up_from_it() {
    let (told, heard) = async_channel::bounded(1);
    let inner = async {
        told.send(()).await.unwrap();
        block_on(Timer::after(Duration::from_millis(5)));
        std::future::pending::<()>().await;
    };
    block_on(or(async { heard.recv().await.unwrap() }, inner));
}

#[test]
fn a_timer_that_is_dropped_is_forgotten() {
    block_on(async {
        assert_eq!(silence(Timer::after(Duration::from_secs(60))).await, None);
    });
    assert_eq!(timers(), 0);
}

#[test]
fn another_thread_wakes_the_one_that_waits() {
    let (told, heard) = async_channel::bounded(1);
    let teller = thread::spawn(move || {
        for n in 0..1000 {
            if n % 100 == 0 {
                thread::sleep(Duration::from_millis(2)); // so that it has gone to sleep
            }
            told.send_blocking(n).unwrap();
        }
    });
    block_on(async {
        for n in 0..1000 {
            assert_eq!(heard.recv().await, Ok(n));
        }
    });
    teller.join().unwrap();
}

#[test]
fn a_future_that_wakes_itself_does_not_keep_descriptors_and_timers_from_their_turn() {
    let (ours, mut theirs) = pair();
    theirs.write_all(b"x").unwrap();
    let busy = poll_fn(|context| -> Poll<()> {
        context.waker().wake_by_ref();
        Poll::Pending
    });
    let read = async {
        Timer::after(Duration::from_millis(5)).await;
        let mut byte = [0];
        assert_eq!((&ours).read(&mut byte).await.unwrap(), 1);
    };
    block_on(or(busy, read));
}

#[test]
fn what_is_still_there_is_readable_again() {
    let (ours, mut theirs) = pair();
    theirs.write_all(b"two").unwrap();
    block_on(async {
        let mut stream = &ours;
        let mut byte = [0];
        for _ in 0..3 {
            ours.readable().await.unwrap();
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
        }
        assert_eq!(silence(ours.readable()).await.map(drop), None);
        drop(theirs);
        ours.readable().await.unwrap();
        assert_eq!(stream.read(&mut byte).await.unwrap(), 0);
    });
}

#[test]
fn readers_and_writers_of_one_descriptor_wake_each_for_their_own() {
    let (ours, theirs) = pair();
    let theirs = Async::new(theirs).unwrap();
    let more = vec![7; 4 * 1024 * 1024];
    let (mut reader, mut writer) = (&ours, &ours);
    block_on(async {
        let mut byte = [0];
        let write = writer.write_all(&more);
        let read = reader.read(&mut byte);
        // nothing to read yet, and the writer is held up: neither is ready
        assert!(silence(zip(write, read)).await.is_none());
        assert!(silence(ours.readable()).await.is_none());
        assert!(silence(ours.writable()).await.is_none());
        let both = zip(ours.readable(), ours.writable());
        let feed = async {
            let mut other = &theirs;
            other.write_all(b"!").await.unwrap();
            let mut sink = vec![0; more.len()];
            while silence(other.read(&mut sink)).await.is_some() {}
        };
        let (both, ()) = zip(both, feed).await;
        both.0.and(both.1).unwrap();
    });
}

#[test]
fn several_tasks_may_wait_for_one_descriptor() {
    let (ours, mut theirs) = pair();
    let executor = async_executor::LocalExecutor::new();
    block_on(executor.run(async {
        let tasks: Vec<_> = (0..3).map(|_| executor.spawn(ours.readable())).collect();
        futures_lite::future::yield_now().await;
        theirs.write_all(b"x").unwrap();
        for task in tasks {
            task.await.unwrap();
        }
    }));
}

#[test]
fn what_is_dropped_is_watched_no_longer_though_a_copy_lives() {
    let before = watched();
    let (ours, mut theirs) = pair();
    let copy = ours.get_ref().try_clone().unwrap();
    block_on(async {
        assert!(silence(ours.readable()).await.is_none());
        drop(ours);
        theirs.write_all(b"x").unwrap();
        assert_eq!(watched(), before);
        let again = Async::new(copy).unwrap();
        again.readable().await.unwrap();
    });
}

#[test]
fn a_hang_up_that_nobody_waits_for_wakes_nobody() {
    let (ours, theirs) = pair();
    drop(theirs);
    let mut timer = pin!(Timer::after(Duration::from_millis(50)));
    assert!(timer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut turns = 0;
    while timers() > 0 {
        REACTOR.with(Reactor::turn);
        turns += 1;
    }
    // the kernel says so once, and then no more until somebody asks
    assert!(turns <= 3, "{turns} turns");
    block_on(ours.readable()).unwrap();
    block_on(ours.writable()).unwrap();
}

#[test]
fn what_rang_before_a_turn_and_within_it_is_looked_after_once() {
    REACTOR.with(|reactor| {
        let mut timer = pin!(Timer::after(Duration::from_millis(1)));
        let waker = Waker::from(Arc::clone(&reactor.bell));
        assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        thread::sleep(Duration::from_millis(2));
        waker.wake_by_ref();
        assert!(reactor.turn());
        assert_eq!(timers(), 0);
        assert!(!reactor.bell.rung.load(Ordering::SeqCst));
    });
}

#[test]
fn a_file_is_refused() {
    let error = Async::new(tempfile::tempfile().unwrap()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn connections_are_made_refused_and_accepted() {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    block_on(async {
        let listener = Async::new(TcpListener::bind(local).unwrap()).unwrap();
        let at = listener.get_ref().local_addr().unwrap();
        let (accepted, made) = zip(listener.accept(), Async::<TcpStream>::connect(at)).await;
        let ((accepted, from), made) = (accepted.unwrap(), made.unwrap());
        assert_eq!(from, made.get_ref().local_addr().unwrap());
        (&made).write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        (&accepted).read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
        drop(listener);
        let refused = Async::<TcpStream>::connect(at).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn the_last_descriptors_are_not_for_connections_which_wait_until_there_are_more() {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    block_on(async {
        let listener = Async::new(TcpListener::bind(local).unwrap()).unwrap();
        assert!(silence(listener.accept_below(0)).await.is_none(), "nobody came");
        let at = listener.get_ref().local_addr().unwrap();
        let made = Async::<TcpStream>::connect(at).await.unwrap();
        for _ in 0..2 {
            let error = listener.accept_below(0).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::EMFILE as i32));
        }
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from, made.get_ref().local_addr().unwrap());
    });
}

#[test]
fn a_socket_in_the_file_system_is_connected_to_at_once_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    assert!(Async::<UnixStream>::connect(&path).is_err());
    let listener = Async::new(UnixListener::bind(&path).unwrap()).unwrap();
    let _made = Async::<UnixStream>::connect(&path).unwrap();
    block_on(listener.accept()).unwrap();
    let long = folder.path().join("x".repeat(200));
    assert!(Async::<UnixStream>::connect(&long).is_err());
    let nix::Result::Ok(()) = nix::sys::socket::listen(listener.get_ref(), backlog(0)) else {
        panic!("listen")
    };
    let mut kept = Vec::new();
    let full = loop {
        match Async::<UnixStream>::connect(&path) {
            Ok(stream) if kept.len() < 100 => kept.push(stream),
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
}

fn backlog(n: i32) -> nix::sys::socket::Backlog {
    nix::sys::socket::Backlog::new(n).unwrap()
}

#[test]
fn an_error_of_a_datagram_wakes_the_reader() {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let gone = UdpSocket::bind(local).unwrap().local_addr().unwrap();
    let ours = UdpSocket::bind(local).unwrap();
    ours.connect(gone).unwrap();
    let ours = Async::new(ours).unwrap();
    ours.get_ref().send(b"x").unwrap();
    block_on(ours.readable()).unwrap();
    let error = ours.get_ref().recv(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn what_an_error_of_accept_means_for_the_next() {
    let of = |errno: Errno| Refused::of(&io::Error::from_raw_os_error(errno as i32));
    assert_eq!(of(Errno::EMFILE), Refused::ForNow);
    assert_eq!(of(Errno::ENOSPC), Refused::ForNow, "epoll watches no more (epoll_ctl(2))");
    assert_eq!(of(Errno::ECONNABORTED), Refused::This);
    assert_eq!(of(Errno::EACCES), Refused::ForNow, "what stays wrong takes no processor");
    assert_eq!(of(Errno::EBADF), Refused::All);
}
